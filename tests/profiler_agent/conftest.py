"""Devices for tests: this machine in a folder of its own, under the real runner or one that does as it is told."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.device import (
    AdbLink,
    Device,
    Guard,
    Link,
    LocalLink,
    PythonRunner,
    RuntimeOptions,
    TimingPlan,
)
from profiler_agent.session import ModelFile
from profiler_agent.transport import Transport
from profiler_agent.transports import open_transport

sys.path.insert(0, str(Path(__file__).parent))  # the test doubles beside this file
from fake_android import FakeAndroid, make_fake_android
from fault_adbd import FaultAdbd
from loopback import Sshd, make_sshd_keys, own_adb_server, start_sshd, why_no_sshd
from other_shell import SHELLS

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


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An adb server of our own: private port and home, so that nobody's phones are touched."""
    if shutil.which("adb") is None:
        pytest.skip("adb is not installed; tests/profiler_agent/setup_system.sh installs it")
    with own_adb_server(tmp_path_factory.mktemp("adb-home")) as settings:
        yield settings


@pytest.fixture
def adbd(adb_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultAdbd]:
    """The fault-injecting adbd, and an adb client that finds its server."""
    for name, value in adb_server.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)
    daemon = FaultAdbd()
    yield daemon
    daemon.close()
    subprocess.run(["adb", "disconnect", daemon.address], check=False, capture_output=True, timeout=30)


@pytest.fixture
def adb_device(local_device: Device, adbd: FaultAdbd) -> Device:
    return replace(local_device, name="adb-test", transport=AdbLink(kind="adb", serial=adbd.address))


@pytest.fixture(scope="session")
def sshd_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (reason := why_no_sshd()) is not None:
        pytest.skip(f"{reason}; tests/profiler_agent/setup_system.sh installs it")
    return make_sshd_keys(tmp_path_factory.mktemp("sshd"))


@pytest.fixture
def sshd(sshd_keys: Path) -> Iterator[Sshd]:
    server = start_sshd(sshd_keys)
    yield server
    server.stop()


@pytest.fixture
def ssh_device(local_device: Device, sshd: Sshd) -> Device:
    return replace(local_device, name="ssh-test", transport=sshd.link)


@pytest.fixture
def open_link() -> Iterator[Callable[[Link], Transport]]:
    """``open_transport``, closed at the end of the test."""
    opened: list[Transport] = []

    def open_one(link: Link) -> Transport:
        opened.append(open_transport(link))
        return opened[-1]

    yield open_one
    for transport in opened:
        transport.close()


@pytest.fixture
def android(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAndroid:
    android = make_fake_android(tmp_path / "android")
    monkeypatch.setattr("profiler_agent.session.AGENT_SCRIPT", android.agent)
    return android


@pytest.fixture
def phone(adb_device: Device, adbd: FaultAdbd, android: FakeAndroid) -> Device:
    """The fault-injecting adbd with that Android behind it, and a device file that asks for fixed clocks."""
    adbd.faults.environment["PATH"] = android.path
    plan = replace(adb_device.plan, session_count=1, max_sessions=1)
    return replace(adb_device, plan=plan, guard=replace(adb_device.guard, fixed_performance=True))


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """A shell that devices have, as the words that start it."""
    words: list[str] = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed; tests/profiler_agent/setup_system.sh installs it")
    return words
