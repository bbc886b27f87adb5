"""Runs an exported ONNX or TFLite file on images, in its own runtime on this host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search.errors import ExportError
from search.quiet import without_chatter

Images = NDArray[np.float32]
Logits = NDArray[np.float32]


class ExportedModel(Protocol):
    """One image batch in (NCHW, as in training), logits out."""

    def logits(self, images: Images) -> Logits: ...


class OnnxModel:
    """An ONNX file under onnxruntime on the CPU, one image at a time when the file says so."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # noqa: PLC0415 - an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0]

    def logits(self, images: Images) -> Logits:
        batch = int(self._input.shape[0])
        parts = [self._session.run(None, {self._input.name: part})[0] for part in _batches(images, batch)]
        return np.concatenate(parts)


class TFLiteModel:
    """A TFLite file under LiteRT; its input is channels-last."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - an extra

        with without_chatter():
            self._interpreter: Any = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def logits(self, images: Images) -> Logits:
        parts = []
        for part in _batches(images, int(self._input["shape"][0])):
            channels_last = np.ascontiguousarray(part.transpose(0, 2, 3, 1))
            self._interpreter.set_tensor(self._input["index"], channels_last)
            self._interpreter.invoke()
            parts.append(np.array(self._interpreter.get_tensor(self._output["index"])))
        return np.concatenate(parts)


def open_exported(path: Path) -> ExportedModel:
    """The file's runtime, chosen by its suffix.

    Raises:
        ExportError: neither .onnx nor .tflite.
    """
    if path.suffix == ".onnx":
        return OnnxModel(path)
    if path.suffix == ".tflite":
        return TFLiteModel(path)
    raise ExportError(f"{path} is neither .onnx nor .tflite.")


def _batches(images: Images, batch: int) -> Sequence[Images]:
    whole = len(images) // batch * batch
    return [images[start : start + batch] for start in range(0, whole, batch)]
