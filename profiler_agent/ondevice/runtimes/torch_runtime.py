"""TorchScript files under torch, on the CPU or through CUDA.

A ``.pt`` carries its inputs' signature as the extra file ``signature.json``: a list of
``{"shape": [...], "dtype": "float32"}``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from profiler_agent.ondevice.runtimes import Runtime
from profiler_agent.ondevice.runtimes.inputs import random_array


def open_runtime(options: dict[str, Any]) -> Runtime:
    import numpy

    torch = importlib.import_module("torch")  # by name: the host's part of this package never needs torch
    device = torch.device(options["accelerator"])
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch " + torch.__version__ + " sees no CUDA device; set runtime.accelerator: cpu.")
    torch.set_num_threads(options["thread_count"])
    torch.set_num_interop_threads(1)

    def load(path: str, seed: int) -> Callable[[int], Any]:
        extra = {"signature.json": ""}
        module = torch.jit.load(path, map_location=device, _extra_files=extra).eval()
        if not extra["signature.json"]:
            raise SystemExit(path + " carries no signature.json; save it with torch.jit.save(..., _extra_files=...).")
        inputs = [
            torch.from_numpy(random_array(numpy, item["shape"], item["dtype"], seed)).to(device)
            for item in json.loads(extra["signature.json"])
        ]
        return _timed_by_events(torch, module, inputs) if device.type == "cuda" else _plain(torch, module, inputs)

    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    return Runtime(load, lambda: {"version": torch.__version__, "ran_on": ["torch " + name]})


def _plain(torch: Any, module: Any, inputs: list[Any]) -> Callable[[int], Any]:
    def run_many(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                module(*inputs)

    return run_many


def _timed_by_events(torch: Any, module: Any, inputs: list[Any]) -> Callable[[int], Any]:
    """Returns the burst's nanoseconds as the GPU's own events tell them: the queue hides the host's share."""
    start = torch.cuda.Event(enable_timing=True)
    end = torch.cuda.Event(enable_timing=True)

    def run_many(count: int) -> int:
        with torch.inference_mode():
            torch.cuda.synchronize()
            start.record()
            for _ in range(count):
                module(*inputs)
            end.record()
            torch.cuda.synchronize()
        return max(1, int(start.elapsed_time(end) * 1e6))

    return run_many
