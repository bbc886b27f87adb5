"""The peers' own virtual environment under build/peers: NNI with the very torch version that runs here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "peers"
PYTHON = FOLDER / "bin" / "python"
READY = FOLDER / "ready"
BUILD_LIMIT_S, QUICK_BUILD_LIMIT_S = 900, 100


class PeersUnavailable(Exception):
    """The environment could not be made; the message says why."""


def requirements() -> list[str]:
    torch_version = metadata.version("torch").partition("+")[0]
    return ["nni==3.0", "pytorch-lightning==2.6.6", "pillow", f"torch=={torch_version}"]


def peers_python(limit_s: float) -> Path:
    """The peers' interpreter; the environment is made when it is not there, or for other versions.

    Raises:
        PeersUnavailable: pip found no packages, or was not done within ``limit_s``.
    """
    wanted = "\n".join(requirements())
    if READY.exists() and READY.read_text(encoding="utf-8") == wanted:
        return PYTHON
    index = os.environ.get("TORCH_INDEX")
    install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--extra-index-url", index] if index else []
    install += ["-c", str(ROOT / "constraints.txt"), *requirements()]
    started = time.monotonic()
    for command in ([sys.executable, "-m", "venv", str(FOLDER)], install):
        left_s = limit_s - (time.monotonic() - started)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(1.0, left_s))
        except subprocess.TimeoutExpired as error:
            raise PeersUnavailable(f"{FOLDER.name} was not installed within {limit_s:.0f} s") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PeersUnavailable(f"the peers could not be installed: {last}")
    READY.write_text(wanted, encoding="utf-8")
    return PYTHON


def peers_versions(python: str | Path) -> str:
    """What is installed there, as a note."""
    names = ("nni", "torch", "pytorch_lightning")
    asked = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names}))"
    return subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
