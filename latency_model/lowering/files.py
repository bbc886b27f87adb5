"""Model files: bytes of a network in a runtime's format, written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from latency_model.errors import LoweringError, ModelFileError
from latency_model.lowering.emit import check_lowerable, emit_network
from latency_model.lowering.quantization import InputOutput, Ranges
from latency_model.lowering.weights import Weights, check_weights
from latency_model.network import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class Int8Options:
    """What an 8-bit file needs beside its weights.

    ``ranges`` come from ``calibrate`` on real inputs (or from ``nominal_ranges``, for a file that is only timed).
    ``io`` says whether the file takes and gives 8-bit integers, or floats that it converts itself.
    """

    ranges: Ranges
    io: InputOutput = "quantized"


def tflite_bytes(
    network: NetworkSpec,
    weights: Weights,
    *,
    int8: Int8Options | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The network as a TFLite model: NHWC "input" -> "output", one signature "serving_default".

    Raises:
        LoweringError: the network cannot be written, or the weights do not fit it.
    """
    from latency_model.lowering import tflite_numbers as numbers  # noqa: PLC0415 - needs LiteRT
    from latency_model.lowering.tflite_emitter import TfliteEmitter  # noqa: PLC0415
    from latency_model.lowering.tflite_graph import TfliteGraph  # noqa: PLC0415

    dtype = check_lowerable(network)
    check_weights(network, weights)
    graph = TfliteGraph()
    stored: numbers.TfliteNumbers
    if dtype == "int8":
        options = _required(network, int8)
        stored = numbers.Int8Numbers(graph, weights, options.ranges, options.io)
    else:
        stored = numbers.FloatNumbers(graph, weights, half_weights=dtype == "fp16")
    emitter = TfliteEmitter(graph, stored)
    return emitter.pack(emit_network(emitter, network), metadata or {})


def onnx_bytes(
    network: NetworkSpec,
    weights: Weights,
    *,
    int8: Int8Options | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The network as an ONNX model: NCHW "input" -> "output".

    Raises:
        LoweringError: the network cannot be written, or the weights do not fit it.
    """
    from latency_model.lowering import onnx_numbers as numbers  # noqa: PLC0415 - needs onnx
    from latency_model.lowering.onnx_emitter import OnnxEmitter  # noqa: PLC0415

    dtype = check_lowerable(network)
    check_weights(network, weights)
    graph = numbers.OnnxGraph()
    stored: numbers.OnnxNumbers
    if dtype == "int8":
        options = _required(network, int8)
        stored = numbers.Int8Numbers(graph, weights, options.ranges, options.io)
    else:
        stored = numbers.FloatNumbers(graph, weights, half_weights=dtype == "fp16")
    emitter = OnnxEmitter(graph, stored)
    output = emit_network(emitter, network)
    return emitter.pack(output, network.output_shape, metadata or {})


def _required(network: NetworkSpec, int8: Int8Options | None) -> Int8Options:
    if int8 is None:
        raise LoweringError(
            f"Network {network.name!r} is int8, and 8-bit numbers need calibrated ranges: pass int8=Int8Options("
            "ranges=calibrate(network, weights, batches of real inputs)), or ranges=nominal_ranges() for a file "
            "that is only timed."
        )
    return int8


def write_tflite(
    network: NetworkSpec,
    weights: Weights,
    path: Path,
    *,
    int8: Int8Options | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``tflite_bytes`` to ``path``.

    Raises:
        LoweringError: as ``tflite_bytes``.
        ModelFileError: the file could not be written; nothing stands at ``path`` that did not before.
    """
    _write_whole(path, tflite_bytes(network, weights, int8=int8, metadata=metadata))


def write_onnx(
    network: NetworkSpec,
    weights: Weights,
    path: Path,
    *,
    int8: Int8Options | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``onnx_bytes`` to ``path``.

    Raises:
        LoweringError: as ``onnx_bytes``.
        ModelFileError: the file could not be written; nothing stands at ``path`` that did not before.
    """
    _write_whole(path, onnx_bytes(network, weights, int8=int8, metadata=metadata))


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
