"""The `python` runner as one file: a zipapp of profiler_agent/ondevice, the same bytes for the same sources."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

ONDEVICE = Path(__file__).parent / "ondevice"
AGENT_SCRIPT = ONDEVICE / "agent.sh"
# A runtime takes long to tear down its models, and sometimes crashes at it; what counts has been written by then.
_MAIN = """\
import os
import sys
from profiler_agent.ondevice.main import main
code = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class DeviceFile:
    """A file that goes to the device under the name of its content."""

    sha256: str
    path: Path
    is_executable: bool = False


def device_file(path: Path, *, is_executable: bool = False) -> DeviceFile:
    return DeviceFile(sha256=file_sha256(path), path=path, is_executable=is_executable)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def runner_bytes() -> bytes:
    """The zipapp: times and order are fixed, so that its hash changes only when a source changes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _MAIN)
        archive.writestr(zipfile.ZipInfo("profiler_agent/__init__.py", _EPOCH), "")
        for source in sorted(ONDEVICE.rglob("*.py")):
            name = f"profiler_agent/ondevice/{source.relative_to(ONDEVICE).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source.read_bytes())
    return buffer.getvalue()


def write_runner(folder: Path) -> DeviceFile:
    """Write the zipapp into a folder of this machine, under its content's name."""
    data = runner_bytes()
    path = folder / f"runner-{hashlib.sha256(data).hexdigest()[:16]}.pyz"
    path.write_bytes(data)
    return device_file(path)
