"""Step 6, export: ONNX and TFLite files, each run on held-out and test images and held against torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console

from latency_model.lowering import write_onnx, write_tflite
from search.batches import SplitData
from search.errors import ExportError
from search.exported_model import open_exported
from search.files import read_json, write_json
from search.plain_network import PlainNetwork, folded_weights
from search.progress import progress
from search.run import NETWORK_NAMES, Run
from search.train_network import TrainFiles, load_trained

WRITERS = {".onnx": write_onnx, ".tflite": write_tflite}
LARGEST_ERROR = 1e-4
CHECKED_IMAGES = 200
ACCURACY_IMAGES = 2000


def export(run: Run, console: Console, names: Sequence[str] = NETWORK_NAMES) -> None:
    """Export what is not exported yet.

    Raises:
        ExportError: a file's logits differ from torch's by more than 1e-4 of the largest logit.
        RunFolderError: a network is not trained yet.
    """
    known: dict[str, Any] = read_json(run.folder.exports) if run.folder.exports.exists() else {}
    left = [name for name in names if name not in known]
    if not left:
        return
    data = run.split(run.preset.train_settings(run.settings.seed).held_out_fraction)
    with run.timed("export"), progress(console, "export") as update:
        for done, name in enumerate(left):
            update(done, len(left))
            known[name] = export_network(run, name, data)
            write_json(run.folder.exports, known)
        update(len(left), len(left))


def export_network(run: Run, name: str, data: SplitData) -> dict[str, Any]:
    """Write both files of one network and check each; returns errors and accuracies by format."""
    network = run.read_network(name)
    model = load_trained(network, TrainFiles(folder=run.folder.training(name)))
    weights = folded_weights(model)
    checks = {}
    for suffix, write in WRITERS.items():
        path = run.folder.exported(name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(network, weights, path, metadata=preprocessing(data))
        checks[suffix.removeprefix(".")] = check_export(run, name, model, suffix, data)
    return checks


def preprocessing(data: SplitData) -> dict[str, str]:
    """What a user of the file must know: classes, and how pixels become inputs."""
    return {
        "proxyless.class_names": json.dumps(list(data.data.class_names)),
        "proxyless.image_shape_chw": json.dumps(list(data.data.image_shape)),
        "proxyless.mean": json.dumps([round(float(value), 6) for value in data.mean]),
        "proxyless.std": json.dumps([round(float(value), 6) for value in data.std]),
        "proxyless.normalisation": "(pixel / 255 - mean) / std, per channel",
    }


def check_export(run: Run, name: str, model: PlainNetwork, suffix: str, data: SplitData) -> dict[str, Any]:
    """Largest difference from torch on held-out images, and the accuracy of the file itself on test images."""
    path = run.folder.exported(name, suffix)
    exported = open_exported(path)
    images, _ = data.held_out_batch(0, min(CHECKED_IMAGES, len(data.held_out_index)))
    with torch.no_grad():
        expected = model(images).numpy()
    found = exported.logits(images.contiguous(memory_format=torch.contiguous_format).numpy())
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= LARGEST_ERROR:
        raise ExportError(
            f"{path} differs from torch by {error:.2g} of the largest logit; {LARGEST_ERROR:g} is the limit. This is a "
            f"fault of the exporter: please report it with {run.folder.network(name)}."
        )
    correct = count = 0
    for batch, labels in data.test_batches(CHECKED_IMAGES):
        logits = exported.logits(batch.contiguous(memory_format=torch.contiguous_format).numpy())
        correct += int((logits.argmax(1) == labels.numpy()).sum())
        count += len(labels)
        if count >= ACCURACY_IMAGES:
            break
    return {
        "path": str(path.relative_to(run.folder.path)),
        "max_relative_error": error,
        "accuracy": correct / count,
        "accuracy_images": count,
        "bytes": path.stat().st_size,
    }
