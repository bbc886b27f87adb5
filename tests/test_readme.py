"""The README's examples are run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = (ROOT / "README.md").read_text().partition("## Three users")[2].partition("\n## ")[0]
LONGEST_S = 1200  # catches what hangs; a busy machine takes its time


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EXAMPLES, flags=re.DOTALL)


def commands() -> list[list[str]]:
    return [shlex.split(line) for block in blocks("") for line in block.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_three_examples_work_one_after_the_other(tmp_path):
    (tmp_path / "device_configs").symlink_to(ROOT / "device_configs")
    # A device folder of its own: other tests, side by side, may have the usual one in use.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}

    def run(argv: list[str]) -> str:
        done = subprocess.run(
            argv, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST_S
        )
        assert done.returncode == 0, f"{argv}: {done.stdout[-800:]}{done.stderr[-800:]}"
        return done.stdout

    outputs = [run([sys.executable, "-m", "search", *command[1:]]) for command in commands()]
    assert [command[1] for command in commands()] == ["device", "device", "profile", "fit", "evaluate", "predict"]
    assert re.search(r"[\d.]+ ms \([\d.]+-[\d.]+\)", outputs[-1])
    (program,) = blocks("python")
    expected_ms = float(re.search(r"expected ([\d.]+) ms", run([sys.executable, "-c", program])).group(1))
    assert 0 < expected_ms < 1
