"""The runtimes that the `python` runner can time: each is imported only when a job names it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, NamedTuple


class Runtime(NamedTuple):
    """``load(path, seed)`` gives a function that runs the model n times on random inputs of its own signature;
    ``facts()`` says which provider or delegate really ran."""

    load: Callable[[str, int], Callable[[int], Any]]
    facts: Callable[[], dict[str, Any]]


# module to look for, distributions that may carry it, adapter
_KNOWN: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "onnxruntime": (("onnxruntime", ("onnxruntime", "onnxruntime-gpu")),),
    "litert": (
        ("ai_edge_litert", ("ai-edge-litert", "ai-edge-litert-nightly")),
        ("tflite_runtime", ("tflite-runtime", "tflite-runtime-nightly")),
    ),
    "torch": (("torch", ("torch",)),),
}


def installed_version(name: str) -> tuple[str, str] | None:
    """(distribution, version) of what would run, without loading it; None when nothing is installed."""
    for module, distributions in _KNOWN.get(name, ()):
        if find_spec(module) is None:
            continue
        for distribution in distributions:
            try:
                return distribution, version(distribution)
            except PackageNotFoundError:
                continue
        return module, "unknown"
    return None


def open_runtime(options: dict[str, Any]) -> Runtime:
    """Load the runtime that ``options['name']`` names, set to its threads and accelerator."""
    adapter = import_module("profiler_agent.ondevice.runtimes." + options["name"] + "_runtime")
    runtime = adapter.open_runtime(options)
    assert isinstance(runtime, Runtime)
    return runtime
