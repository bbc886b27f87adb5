"""The host's halves of the runners, one module each; picked by the device file's kind."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from profiler_agent.device import BenchmarkModelRunner, Device, NativeRunner, PythonRunner
from profiler_agent.runner import JobSeconds, Runner, one_process_s


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


def job_seconds(device: Device) -> JobSeconds:
    """About how long jobs take on a device, known from its file alone."""
    match device.runner:
        case PythonRunner() | NativeRunner():
            return one_process_s
        case BenchmarkModelRunner():
            from profiler_agent.runners.benchmark_model import process_per_round_s  # noqa: PLC0415

            return partial(process_per_round_s, device.runtime)
