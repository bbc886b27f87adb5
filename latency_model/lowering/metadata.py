"""The texts that travel in a model file: labels, preprocessing, provenance."""

from __future__ import annotations

from pathlib import Path

from latency_model.errors import LoweringError


def read_metadata(path: Path) -> dict[str, str]:
    """What ``write_onnx`` or ``write_tflite`` was given as ``metadata``.

    Raises:
        LoweringError: the file is neither ".onnx" nor ".tflite", or not a model.
    """
    match path.suffix:
        case ".onnx":
            return _read_onnx(path)
        case ".tflite":
            return _read_tflite(path)
        case suffix:
            raise LoweringError(f"{path} ends in {suffix!r}; metadata is read from .onnx and .tflite files.")


def _read_onnx(path: Path) -> dict[str, str]:
    import onnx  # noqa: PLC0415 - needs onnx
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise LoweringError(f"{path} is no ONNX model, or a torn one: {error}.") from error
    return {entry.key: entry.value for entry in model.metadata_props}


def _read_tflite(path: Path) -> dict[str, str]:
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - needs LiteRT

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise LoweringError(f"{path} is no TFLite model.")
    model = schema.ModelT.InitFromPackedBuf(content)
    return {entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode() for entry in model.metadata or []}
