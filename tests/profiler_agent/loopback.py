"""Real servers on loopback for tests and benchmarks: an sshd and an adb server of our own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.device import SshLink

_SBIN = "/usr/sbin:/usr/bin"


@contextmanager
def own_adb_server(home: Path) -> Iterator[dict[str, str]]:
    """An adb server with a private port and home, so that nobody's phones are touched; yields its settings."""
    settings = {"ANDROID_ADB_SERVER_PORT": str(free_port()), "HOME": str(home), "ADB_MDNS": "0"}
    environment = {**os.environ, **settings}
    subprocess.run(["adb", "start-server"], env=environment, check=True, capture_output=True, timeout=30)
    try:
        yield settings
    finally:
        subprocess.run(["adb", "kill-server"], env=environment, check=False, capture_output=True, timeout=30)


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

    def freeze_connections(self) -> None:
        """The connections stay open, and nobody answers on them; new ones are served."""
        for child in children_of(self.processes[-1].pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)

    def stop(self) -> None:
        for process in self.processes:
            for child in children_of(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()
        self.processes.clear()


def why_no_sshd() -> str | None:
    """What is missing for an sshd of our own."""
    is_there = shutil.which("sshd", path=_SBIN) and shutil.which("ssh-keygen")
    return None if is_there else "openssh-server is not installed"


def make_sshd_keys(folder: Path) -> Path:
    for name in ("host_key", "other_host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o600)
    return folder


def start_sshd(keys: Path) -> Sshd:
    """A server on a free port of loopback, with the keys of ``make_sshd_keys``."""
    port = free_port()
    host_key = (keys / "host_key.pub").read_text().split()[:2]
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    config = keys / f"sshd_config_{port}"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host_key\nUsePAM no\nStrictModes no\n"
        f"PidFile none\nAuthorizedKeysFile {keys}/authorized_keys\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
        # the start files of whoever runs the tests are none of our business
        f"SetEnv HOME={keys} PROXYLESS_LOCK_DIRECTORY={keys}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    server = Sshd(port, keys, getpass.getuser(), config, [])
    server.start()
    return server


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
