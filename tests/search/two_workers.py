"""Two processes of one script under torchrun; each writes what it found."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from search.files import read_json

ROOT = Path(__file__).resolve().parents[2]


def found_by_two(script: str, folder: Path, differ: str) -> list[Any]:
    """Run ``script FOLDER DIFFER`` twice at once: what the first and the second one left in ``found<rank>.json``."""
    (folder / "one_worker.py").write_text(textwrap.dedent(script))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [str(folder / "one_worker.py"), str(folder), differ]
    subprocess.run([*launcher, *words], check=True, timeout=120, env=environment)
    return [read_json(folder / f"found{rank}.json") for rank in range(2)]
