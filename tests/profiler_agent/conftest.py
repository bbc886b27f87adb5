"""Devices for tests: this machine in a folder of its own, under the real runner or one that does as it is told."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.device import Device, Guard, LocalLink, PythonRunner, RuntimeOptions, TimingPlan
from profiler_agent.session import ModelFile

SHORT_PLAN = TimingPlan(
    warmup_runs=1, burst_ms=1.0, burst_retries=0, round_count=4, session_count=2, max_sessions=2, spread_limit=10.0
)
QUICK_GUARD = Guard(lease_s=15, model_limit_s=5.0, min_free_mb=1.0, wait_limit_s=20.0)
FAKE_PYTHON = Path(__file__).parent / "fake_python.py"


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """An interpreter in name only: see ``fake_python.py``. ``runs.log`` beside it has a line per process."""
    folder = tmp_path / "fake"
    folder.mkdir()
    folder.chmod(0o777)
    script = folder / "python"
    script.write_text(f"#!{sys.executable} -S\n" + FAKE_PYTHON.read_text())
    script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return script


@pytest.fixture
def local_device(tmp_path: Path, fake_python: Path) -> Device:
    """This machine with the obedient runner; quick, and alone in its folder."""
    return Device(
        name="local-test",
        transport=LocalLink(),
        runtime=RuntimeOptions(name="onnxruntime"),
        runner=PythonRunner(python=str(fake_python)),
        plan=SHORT_PLAN,
        guard=QUICK_GUARD,
        directory=str(tmp_path / "device" / "proxyless"),
        source_file=tmp_path / "device.yaml",
    )


@pytest.fixture
def real_runner(local_device: Device) -> Callable[[str], Device]:
    """The same device under this interpreter and a real runtime."""
    return lambda runtime: replace(local_device, runner=PythonRunner(), runtime=RuntimeOptions(name=runtime))


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., list[ModelFile]]:
    """Model files for the obedient runner: the text in each is what it is to do (``ok``, ``crash``, ...)."""

    def make(*orders: str) -> list[ModelFile]:
        folder = tmp_path / "models"
        folder.mkdir(exist_ok=True)
        files = []
        for order in orders:
            name = f"m{len(list(folder.iterdir()))}"
            (folder / name).write_text(f"{order}\n{name}\n")
            files.append(ModelFile(model_id=f"{name}-{order.split(':')[0]}", path=folder / name))
        return files

    return make
