"""The command line in processes of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLI = "import sys; from search.cli import main; main(sys.argv[1:])"
SAVING_EVERY_STEP = f"import search.trainer; search.trainer.CHECKPOINT_EVERY_S = 0.0; {CLI}"


def start(*words: object, program: str = CLI) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def run(*words: object) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def done(*words: object) -> str:
    code, out, err = run(*words)
    assert code == 0, err
    return out
