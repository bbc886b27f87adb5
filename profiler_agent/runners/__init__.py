"""The host's halves of the runners, one module each; ``make_runner`` picks by the device file's kind."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from profiler_agent.device import BenchmarkModelRunner, Device, NativeRunner, PythonRunner
from profiler_agent.runner import Runner


def make_runner(device: Device, folder: Path) -> Runner:
    """The runner of a device; ``folder`` on this machine takes the files that it builds."""
    match device.runner:
        case PythonRunner():
            from profiler_agent.runners.python import PythonHostRunner  # noqa: PLC0415

            return PythonHostRunner.build(device, folder)
        case BenchmarkModelRunner():
            from profiler_agent.runners.benchmark_model import BenchmarkModelHostRunner  # noqa: PLC0415

            return BenchmarkModelHostRunner.build(device)
        case NativeRunner():
            from profiler_agent.runners.native import NativeHostRunner  # noqa: PLC0415

            return NativeHostRunner.build(device)
        case _:
            assert_never(device.runner)
