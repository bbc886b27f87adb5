"""Devices for tests: this machine in a folder of its own, under the real runner or one that does as it is told."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
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
    SshLink,
    TimingPlan,
)
from profiler_agent.session import ModelFile
from profiler_agent.transport import Transport
from profiler_agent.transports import open_transport

sys.path.insert(0, str(Path(__file__).parent))  # the test doubles beside this file
from fault_adbd import FaultAdbd

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
    home = tmp_path_factory.mktemp("adb-home")
    settings = {"ANDROID_ADB_SERVER_PORT": str(free_port()), "HOME": str(home), "ADB_MDNS": "0"}
    environment = {**os.environ, **settings}
    subprocess.run(["adb", "start-server"], env=environment, check=True, capture_output=True, timeout=30)
    yield settings
    subprocess.run(["adb", "kill-server"], env=environment, check=False, capture_output=True, timeout=30)


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


@dataclass(frozen=True)
class Sshd:
    """A real sshd on loopback that accepts one key. ``stop`` and ``start`` are for losing the link."""

    port: int
    folder: Path
    user: str
    config: Path
    processes: list[subprocess.Popen[bytes]]

    @property
    def link(self) -> SshLink:
        return SshLink(
            kind="ssh",
            host="127.0.0.1",
            user=self.user,
            port=self.port,
            key_file=self.folder / "client_key",
            known_hosts=self.folder / "known_hosts",
        )

    def start(self) -> None:
        argv = [str(shutil.which("sshd", path="/usr/sbin:/usr/bin")), "-D", "-e", "-f", str(self.config)]
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL))
        wait_for_port(self.port)

    def drop_connections(self) -> None:
        """End the processes that serve connections; the listener stays."""
        for child in children_of(self.processes[-1].pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        for process in self.processes:
            for child in children_of(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()
        self.processes.clear()


@pytest.fixture(scope="session")
def sshd_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("sshd", path="/usr/sbin:/usr/bin") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-server is not installed; tests/profiler_agent/setup_system.sh installs it")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "other_host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o600)
    return folder


@pytest.fixture
def sshd(sshd_keys: Path) -> Iterator[Sshd]:
    port = free_port()
    host_key = (sshd_keys / "host_key.pub").read_text().split()[:2]
    (sshd_keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    config = sshd_keys / f"sshd_config_{port}"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {sshd_keys}/host_key\nUsePAM no\nStrictModes no\n"
        f"PidFile none\nAuthorizedKeysFile {sshd_keys}/authorized_keys\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
        # the start files of whoever runs the tests are none of our business
        f"SetEnv HOME={sshd_keys}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    server = Sshd(port, sshd_keys, getpass.getuser(), config, [])
    server.start()
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


def free_port() -> int:
    """A port that was free a moment ago, outside the range that adb takes for emulators."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 5555 <= port <= 5585:
            return port


def wait_for_port(port: int, limit_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


def children_of(pid: int) -> list[int]:
    """All processes below one."""
    with suppress(OSError):
        direct = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [below for child in direct for below in (*children_of(child), child)]
    return []
