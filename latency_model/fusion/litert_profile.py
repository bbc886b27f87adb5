"""The kernels that LiteRT runs for a TFLite model, from the profiler in the C library of its wheel.

The library has no stable ABI: the calls below are those of ai-edge-litert 2.3. So they are made in a process of their
own, where a changed signature is an error message and not the end of the caller, and the profile is read from the
library's own text summary, not from its structs.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from latency_model.errors import LatencyModelError

_TYPE_BYTES = 4096  # far more than a LiteRtRankedTensorType of any version
_CPU = 1
_TIME_LIMIT_S = 120
_RUN_ORDER = re.compile(r"^\s*(?:Delegate/)?(?P<kernel>\S.*?)\s{2,}\d+\.\d+\s")


class ProfilerNotAvailable(LatencyModelError):
    """This build of LiteRT has no profiler that we can call."""


def profile_kernels(model: Path) -> list[str]:
    """XNNPACK's names of the kernels (or TFLite's of operators outside it) in the order in which they ran.

    Raises:
        ProfilerNotAvailable: no LiteRT here, or its C library is of another version.
    """
    command = [sys.executable, "-m", "latency_model.fusion.litert_profile", str(model)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ProfilerNotAvailable(f"LiteRT's profiler did not end within {_TIME_LIMIT_S} s.") from error
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise ProfilerNotAvailable(
            f"LiteRT's profiler did not run (exit code {child.returncode}: {reason}). It was written for "
            "ai-edge-litert 2.3; install that version to observe kernels."
        )
    kernels: list[str] = json.loads(child.stdout.strip().splitlines()[-1])
    return kernels


def kernels_in_summary(summary: str) -> list[str]:
    """The kernel names of the summary's first table, "Run Order"."""
    lines = summary.splitlines()
    start = next((i for i, line in enumerate(lines) if "Run Order" in line), None)
    if start is None:
        raise ProfilerNotAvailable(f"No 'Run Order' in LiteRT's profile summary:\n{summary[:400]}")
    kernels = []
    for line in lines[start + 2 :]:
        match = _RUN_ORDER.match(line)
        if match is None:
            break
        kernels.append(match["kernel"])
    return kernels


class _Library:
    """Calls of the C library, each checked for its status."""

    def __init__(self) -> None:
        package = find_spec("ai_edge_litert")
        if package is None or package.origin is None:
            raise ProfilerNotAvailable("ai-edge-litert is not installed.")
        self._library = ctypes.CDLL(str(Path(package.origin).parent / "libLiteRt.so"))

    def call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise ProfilerNotAvailable(f"libLiteRt.so has no {name}.") from None
        status = function(*arguments)
        if status != 0:
            raise ProfilerNotAvailable(f"{name} answered with status {status}.")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """The handle that a call writes through its last argument."""
        handle = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle


def _profiling_options(library: _Library) -> ctypes.c_void_p:
    options = library.made("LiteRtCreateOptions")
    library.call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
    libc = ctypes.CDLL(None)
    libc.strdup.restype = ctypes.c_void_p
    text = ctypes.c_void_p(libc.strdup(b"enable_profiling = true\n"))
    free = ctypes.cast(libc.free, ctypes.c_void_p)
    payload = library.made("LiteRtCreateOpaqueOptions", b"runtime_options_string", text, free)
    library.call("LiteRtAddOpaqueOptions", options, payload)
    return options


def _buffers(
    library: _Library, side: str, environment: ctypes.c_void_p, signature: ctypes.c_void_p, compiled: ctypes.c_void_p
) -> Any:
    count = ctypes.c_size_t()
    library.call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
    buffers = (ctypes.c_void_p * count.value)()
    for index in range(count.value):
        position = ctypes.c_size_t(index)
        tensor = library.made(f"LiteRtGetSignature{side}TensorByIndex", signature, position)
        tensor_type = ctypes.create_string_buffer(_TYPE_BYTES)
        library.call("LiteRtGetRankedTensorType", tensor, tensor_type)
        get_needs = f"LiteRtGetCompiledModel{side}BufferRequirements"
        needs = library.made(get_needs, compiled, ctypes.c_size_t(0), position)
        create = "LiteRtCreateManagedTensorBufferFromRequirements"
        buffers[index] = library.made(create, environment, tensor_type, needs)
    return buffers


def _summary(model: bytes) -> str:
    library = _Library()
    environment = library.made("LiteRtCreateEnvironment", 0, None)
    content = ctypes.create_string_buffer(model, len(model))
    loaded = library.made("LiteRtCreateModelFromBuffer", environment, content, ctypes.c_size_t(len(model)))
    options = _profiling_options(library)
    compiled = library.made("LiteRtCreateCompiledModel", environment, loaded, options)
    signature = library.made("LiteRtGetModelSignature", loaded, ctypes.c_size_t(0))
    inputs = _buffers(library, "Input", environment, signature, compiled)
    outputs = _buffers(library, "Output", environment, signature, compiled)
    profiler = library.made("LiteRtCompiledModelGetProfiler", compiled)
    library.call("LiteRtStartProfiler", profiler)
    sizes = ctypes.c_size_t(len(inputs)), ctypes.c_size_t(len(outputs))
    library.call("LiteRtRunCompiledModel", compiled, ctypes.c_size_t(0), sizes[0], inputs, sizes[1], outputs)
    library.call("LiteRtStopProfiler", profiler)
    text = ctypes.c_char_p()
    library.call("LiteRtGetProfileSummary", profiler, compiled, ctypes.byref(text))
    if text.value is None:
        raise ProfilerNotAvailable("LiteRtGetProfileSummary gave nothing.")
    return text.value.decode()


def main(arguments: Sequence[str]) -> None:
    """Print the kernels of one model file as a JSON list."""
    (model,) = arguments
    sys.stdout.write(json.dumps(kernels_in_summary(_summary(Path(model).read_bytes()))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
