"""Model files: bytes of a network in a runtime's format, written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from latency_model.errors import ModelFileError
from latency_model.lowering.emit import check_lowerable, emit_network
from latency_model.lowering.weights import Weights, check_weights
from latency_model.network import NetworkSpec


def tflite_bytes(network: NetworkSpec, weights: Weights, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The network as a TFLite model: NHWC "input" -> "output", one signature "serving_default".

    Raises:
        LoweringError: the network cannot be written, or the weights do not fit it.
    """
    from latency_model.lowering.tflite_emitter import TfliteEmitter  # noqa: PLC0415 - needs LiteRT

    dtype = check_lowerable(network)
    check_weights(network, weights)
    emitter = TfliteEmitter(weights, dtype)
    return emitter.pack(emit_network(emitter, network), metadata or {})


def onnx_bytes(network: NetworkSpec, weights: Weights, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The network as an ONNX model: NCHW "input" -> "output".

    Raises:
        LoweringError: the network cannot be written, or the weights do not fit it.
    """
    from latency_model.lowering.onnx_emitter import OnnxEmitter  # noqa: PLC0415 - needs onnx

    dtype = check_lowerable(network)
    check_weights(network, weights)
    emitter = OnnxEmitter(weights, dtype)
    emit_network(emitter, network)
    return emitter.pack(network.output_shape, metadata or {})


def write_tflite(
    network: NetworkSpec, weights: Weights, path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write ``tflite_bytes`` to ``path``.

    Raises:
        LoweringError: as ``tflite_bytes``.
        ModelFileError: the file could not be written; nothing stands at ``path`` that did not before.
    """
    _write_whole(path, tflite_bytes(network, weights, metadata=metadata))


def write_onnx(
    network: NetworkSpec, weights: Weights, path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write ``onnx_bytes`` to ``path``.

    Raises:
        LoweringError: as ``onnx_bytes``.
        ModelFileError: the file could not be written; nothing stands at ``path`` that did not before.
    """
    _write_whole(path, onnx_bytes(network, weights, metadata=metadata))


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelFileError(_why_not_written(path, len(content), error)) from error


def _why_not_written(path: Path, size_bytes: int, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"No space left for {path} ({size_bytes / 1e6:.1f} MB). Free space in {path.parent}, or choose another "
            "folder; nothing that was there is lost."
        )
    return f"Could not write {path}: {error.strerror}. Check that {path.parent} exists and may be written to."
