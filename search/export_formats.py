"""The files a trained network is shipped as: each runtime's format in 32-bit, 16-bit and 8-bit numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latency_model.lowering import Int8Options, Weights, calibrate, write_onnx, write_tflite
from latency_model.network import NetworkSpec, with_dtype
from latency_model.ops import Dtype
from search.batches import SplitData
from search.data.augment import normalise
from search.data.batches import seeded_generator
from search.errors import ExportError
from search.exported_model import Images, Logits, open_exported
from search.file_metadata import network_metadata

CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 128
CHECKED_IMAGES = 200
ACCURACY_IMAGES = 2000
# Share of the largest logit. Single precision differs by rounding alone; beyond the others' limits a file is useless
# whatever the network, so something else than rounding must be wrong with it.
LARGEST_ERROR: Mapping[Dtype, float] = {"fp32": 1e-4, "fp16": 0.05, "int8": 1.0}


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """One kind of file. ``key`` names it in export.json."""

    key: str
    dtype: Dtype
    suffix: str
    write: Callable[..., None]

    @property
    def file_suffix(self) -> str:
        """What follows the network's name: ``.onnx``, ``-int8.tflite``."""
        return self.suffix if self.dtype == "fp32" else f"-{self.dtype}{self.suffix}"


SINGLE_PRECISION = (
    ExportFormat(key="onnx", dtype="fp32", suffix=".onnx", write=write_onnx),
    ExportFormat(key="tflite", dtype="fp32", suffix=".tflite", write=write_tflite),
)
ALL_FORMATS = (
    *SINGLE_PRECISION,
    ExportFormat(key="onnx-fp16", dtype="fp16", suffix=".onnx", write=write_onnx),
    ExportFormat(key="tflite-fp16", dtype="fp16", suffix=".tflite", write=write_tflite),
    ExportFormat(key="onnx-int8", dtype="int8", suffix=".onnx", write=write_onnx),
    ExportFormat(key="tflite-int8", dtype="int8", suffix=".tflite", write=write_tflite),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What a file must agree with: torch's own logits on held-out images, and torch's accuracy on test images."""

    images: Images
    logits: Logits
    test: tuple[tuple[Images, np.ndarray[Any, Any]], ...]
    accuracy: float


def reference_of(model: torch.nn.Module, data: SplitData) -> Reference:
    """Run the trained module on what every file of it will be checked on."""
    images, _ = data.held_out_batch(0, min(CHECKED_IMAGES, len(data.held_out_index)))
    batches = _drawn_test_batches(data)
    with torch.no_grad():
        logits = model(images).numpy()
        correct = sum(int((model(batch).argmax(1) == labels).sum()) for batch, labels in batches)
    return Reference(
        images=_plain(images),
        logits=logits,
        test=tuple((_plain(batch), labels.numpy()) for batch, labels in batches),
        accuracy=correct / sum(len(labels) for _, labels in batches),
    )


def _drawn_test_batches(data: SplitData) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """At most ACCURACY_IMAGES test images, drawn at random: image folders are ordered by class, so the first ones would
    be of a few classes only, and a draw has each class as often as the whole part has it."""
    labels = data.data.test_labels
    order = torch.randperm(len(labels), generator=seeded_generator(data.seed, "export accuracy"))
    return [
        (normalise(data.data.test_images[index], data.mean, data.std), labels[index])
        for index in torch.split(order[:ACCURACY_IMAGES], CHECKED_IMAGES)
    ]


def calibrated(network: NetworkSpec, weights: Weights, data: SplitData, seed: int) -> Int8Options:
    """Ranges from real training images as they are, without augmentation. The file takes and gives floats."""
    order = torch.randperm(len(data.train_index), generator=seeded_generator(seed, "calibration"))
    chosen = data.train_index[order[:CALIBRATION_IMAGES]]
    images = normalise(data.data.train_images[chosen], data.mean, data.std)
    return Int8Options(ranges=calibrate(network, weights, torch.split(images, CALIBRATION_BATCH)), io="float")


def write_format(
    form: ExportFormat,
    network: NetworkSpec,
    weights: Weights,
    path: Path,
    *,
    int8: Int8Options | None,
    metadata: Mapping[str, str],
) -> None:
    """Write one file; it says which network it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = with_dtype(network, form.dtype)
    metadata = {**metadata, **network_metadata(held, form.suffix)}
    form.write(held, weights, path, int8=int8 if form.dtype == "int8" else None, metadata=metadata)


def check_file(path: Path, dtype: Dtype, reference: Reference) -> dict[str, Any]:
    """Run the file in its runtime: largest difference from torch on held-out images, accuracy on test images.

    Raises:
        ExportError: it differs by more than rounding to its numbers can explain.
    """
    exported = open_exported(path)
    found = exported.logits(reference.images)
    error = float(np.abs(found - reference.logits).max() / np.abs(reference.logits).max())
    if not error <= LARGEST_ERROR[dtype]:
        raise ExportError(
            f"{path} differs from torch by {error:.2g} of the largest logit; {LARGEST_ERROR[dtype]:g} is the limit for "
            f"{dtype}. This is a fault of the exporter: please report it with the network's JSON file."
        )
    correct = sum(int((exported.logits(images).argmax(1) == labels).sum()) for images, labels in reference.test)
    count = sum(len(labels) for _, labels in reference.test)
    return {
        "dtype": dtype,
        "max_relative_error": error,
        "accuracy": correct / count,
        "accuracy_loss": reference.accuracy - correct / count,
        "accuracy_images": count,
        "bytes": path.stat().st_size,
    }


def _plain(images: torch.Tensor) -> Images:
    plain: Images = images.contiguous(memory_format=torch.contiguous_format).numpy()
    return plain
