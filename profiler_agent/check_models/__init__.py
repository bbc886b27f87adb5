"""Two tiny models in each format for `proxyless device check`: `check` (an inverted bottleneck) and `canary` (one
convolution). They were written by latency_model.lowering, which this room may not use; a test compares them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = {"onnxruntime": ".onnx", "litert": ".tflite", "torch": ".pt"}


def check_model(name: str, runtime_name: str) -> Path:
    """The file of ``check`` or ``canary`` for a runtime."""
    return Path(__file__).parent / f"{name}{SUFFIXES[runtime_name]}"
