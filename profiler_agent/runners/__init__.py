"""The host's halves of the runners, one module each; ``make_runner`` picks by the device file's kind."""

from __future__ import annotations

from pathlib import Path

from profiler_agent.device import Device, PythonRunner
from profiler_agent.errors import ConfigError
from profiler_agent.runner import Runner


def make_runner(device: Device, folder: Path) -> Runner:
    """The runner of a device; ``folder`` on this machine takes the files that it builds."""
    match device.runner:
        case PythonRunner():
            from profiler_agent.runners.python import PythonHostRunner  # noqa: PLC0415

            return PythonHostRunner.build(device, folder)
        case _:
            raise ConfigError(f"runner.kind {device.runner.kind!r} is not yet in this version; use 'python'.")
