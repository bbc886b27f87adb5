"""This machine under another shell, as devices have them."""

import os
import shutil
from pathlib import Path

from profiler_agent.transports.local import LocalTransport

SHELLS = ("dash", "mksh", "busybox sh", "bash --posix")


class OtherShell(LocalTransport):
    """``sh`` is another program, for the host's scripts and for the agent."""

    def __init__(self, folder: Path, shell: str) -> None:
        (folder / "bin").mkdir()
        program, *rest = shell.split()
        script = folder / "bin" / "sh"
        script.write_text(f'#!/bin/bash\nexec {shutil.which(program)} {" ".join(rest)} "$@"\n')
        script.chmod(0o755)
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def run(self, argv, timeout_s):
        return super().run(["env", f"PATH={self._path}", *argv], timeout_s)
