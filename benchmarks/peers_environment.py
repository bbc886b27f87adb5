"""The peers' own virtual environment under build/peers: NNI with the very torch version that runs here."""

from __future__ import annotations

import json
import math
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
FAILED = FOLDER / "failed.json"
TRIED_AGAIN_AFTER_S = 1800
"""Three benchmarks ask one after another: what has just failed is not waited for three times."""
BUILD_LIMIT_S, QUICK_BUILD_LIMIT_S = 900, 100


class PeersUnavailable(Exception):
    """The environment could not be made; the message says why."""


def requirements() -> list[str]:
    torch_version = metadata.version("torch").partition("+")[0]
    return ["nni==3.0", "pytorch-lightning==2.6.6", "pillow", f"torch=={torch_version}"]


def peers_python(limit_s: float) -> Path:
    """The peers' interpreter; the environment is made when it is not there, or for other versions.

    Raises:
        PeersUnavailable: pip found no packages, or was not done within ``limit_s``, now or a moment ago.
    """
    wanted = "\n".join(requirements())
    if READY.exists() and READY.read_text(encoding="utf-8") == wanted:
        return PYTHON
    if (failed := _failure(wanted, limit_s)) is not None:
        raise PeersUnavailable(failed)
    try:
        _install(limit_s)
    except _InstallFailed as error:
        kept = {"wanted": wanted, "limit_s": error.limit_s, "why": str(error), "at_s": time.time()}
        FOLDER.mkdir(parents=True, exist_ok=True)
        FAILED.write_text(json.dumps(kept), encoding="utf-8")
        raise PeersUnavailable(str(error)) from error
    FAILED.unlink(missing_ok=True)
    READY.write_text(wanted, encoding="utf-8")
    return PYTHON


class _InstallFailed(Exception):
    """``limit_s`` is the time within which trying again is in vain; infinite where time was not what lacked."""

    def __init__(self, why: str, limit_s: float) -> None:
        super().__init__(why)
        self.limit_s = limit_s


def _failure(wanted: str, limit_s: float) -> str | None:
    """Why the same was not to be had a moment ago; None where trying is worth the time."""
    if not FAILED.exists():
        return None
    failed = json.loads(FAILED.read_text(encoding="utf-8"))
    ago_s = time.time() - failed["at_s"]
    if failed["wanted"] != wanted or failed["limit_s"] < limit_s or ago_s > TRIED_AGAIN_AFTER_S:
        return None
    return (
        f"{failed['why']} ({ago_s / 60:.0f} minutes ago; tried again {TRIED_AGAIN_AFTER_S / 60:.0f} minutes after it, "
        f"or once {FOLDER.name}/{FAILED.name} is removed)"
    )


def _install(limit_s: float) -> None:
    """Raises:
    _InstallFailed: no packages, or no time.
    """
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
            raise _InstallFailed(f"{FOLDER.name} was not installed within {limit_s:.0f} s", limit_s) from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _InstallFailed(f"the peers could not be installed: {last}", math.inf)


def peers_versions(python: str | Path) -> str:
    """What is installed there, as a note."""
    names = ("nni", "torch", "pytorch_lightning")
    asked = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names}))"
    return subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
