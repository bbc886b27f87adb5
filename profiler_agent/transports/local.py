"""This machine, reached through subprocesses."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from profiler_agent.errors import DeviceFull, DeviceNotReady, LinkLost
from profiler_agent.transport import CommandResult
from profiler_agent.transports.bounded_process import run_bounded


class LocalTransport:
    """Runs commands as children of this process; files are copied."""

    address = "this machine"

    @property
    def default_directory(self) -> str:
        return str(Path(tempfile.gettempdir()) / f"proxyless-{os.getuid()}")

    def push(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        for source, name in files:
            try:
                shutil.copyfile(source, Path(directory) / name)
            except OSError as error:
                kind = DeviceFull if error.errno in (28, 122) else DeviceNotReady
                raise kind(
                    f"{source.name} could not be copied into {directory}: {error.strerror}. Free space there or name "
                    "another folder under 'directory' in the device file."
                ) from error

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        try:
            return run_bounded(argv, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LinkLost(f"A command on this machine took longer than {timeout_s:.0f} s: {argv[0]}.") from error
        except OSError as error:
            raise DeviceNotReady(
                f"{argv[0]} cannot be run on this machine: {error.strerror}. See that it is there, and that PATH leads "
                "to it."
            ) from error

    def reconnect(self) -> None:
        """Nothing to do: there is no link."""

    def close(self) -> None:
        """Nothing to do: there is no link."""
