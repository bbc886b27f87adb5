"""A board or server through SSH, by paramiko. A host whose key is not known beforehand is refused."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from profiler_agent.device import SshLink
from profiler_agent.errors import ConfigError, DeviceFull, DeviceNotReady, LinkLost, LinkRefused, RuntimeMissing
from profiler_agent.remote_shell import printable
from profiler_agent.transport import MAX_OUTPUT_BYTES, CommandResult

if TYPE_CHECKING:
    import paramiko

_CONNECT_LIMIT_S = 15.0
_PUSH_LIMIT_S = 30.0
_SLOWEST_PUSH_BYTES_PER_S = 500_000
_KEEPALIVE_S = 5
_CHUNK_BYTES = 32 << 10
_IDLE_S = 0.005
_SSH_PORT = 22


class SshTransport:
    """One connection; commands and files go through channels of it."""

    default_directory = "~/.cache/proxyless"

    def __init__(self, link: SshLink) -> None:
        self._link = link
        self._host = from_environment(link.host, "transport.host")
        if "@" in self._host:
            user, _, host = self._host.rpartition("@")
            raise ConfigError(
                f"transport.host is {self._host!r}; write the host alone ({host}), and the user under transport.user "
                f"({user})."
            )
        self._user = from_environment(link.user, "transport.user") if link.user else None
        self._client: paramiko.SSHClient | None = None
        try:
            self.reconnect()
        except LinkLost as error:
            raise DeviceNotReady(
                f"{error} Check that it is on, that the address is right, and that its SSH server runs."
            ) from error

    @property
    def address(self) -> str:
        return f"ssh host {self._host}:{self._link.port}"

    def push(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        import paramiko  # noqa: PLC0415

        size = sum(path.stat().st_size for path, _ in files)
        with self._ended_after(_PUSH_LIMIT_S + size / _SLOWEST_PUSH_BYTES_PER_S):
            try:
                with self._open_channel(_CONNECT_LIMIT_S) as channel, self._open_sftp(channel) as sftp:
                    for source, name in files:
                        sftp.put(str(source), f"{directory}/{name}", confirm=True)
            except (paramiko.SSHException, EOFError, TimeoutError, ConnectionError) as error:
                raise LinkLost(f"A push to {self.address} broke off: {error or type(error).__name__}.") from error
            except OSError as error:
                if "Socket is closed" in str(error):  # paramiko's word for a connection that ended meanwhile
                    raise LinkLost(f"A push to {self.address} broke off: {error}.") from error
                raise self._push_error(error, directory) from error

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        import paramiko  # noqa: PLC0415

        deadline_s = time.monotonic() + timeout_s
        with self._ended_after(timeout_s + _IDLE_S):
            try:
                with self._open_channel(timeout_s) as channel:
                    channel.exec_command("exec " + shlex.join(argv))
                    channel.shutdown_write()
                    return self._drain(channel, deadline_s, timeout_s)
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise LinkLost(f"The link to {self.address} broke: {error or type(error).__name__}.") from error

    def reconnect(self) -> None:
        self.close()
        self._client = self._open()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _ended_after(self, limit_s: float) -> Iterator[None]:
        """Close the connection when the limit is over: that ends every wait in it. paramiko waits without a limit for
        the answers to some requests, as long as the other end keeps the connection open and says nothing."""
        client = self._connected()
        is_over = threading.Event()

        def cut() -> None:
            is_over.set()
            client.close()

        watchdog = threading.Timer(limit_s, cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except DeviceNotReady as error:
            if is_over.is_set():
                raise LinkLost(f"{self.address} did not answer within {limit_s:.0f} s.") from error
            raise
        finally:
            watchdog.cancel()

    @contextmanager
    def _open_channel(self, limit_s: float) -> Iterator[paramiko.Channel]:
        transport = self._connected().get_transport()
        if transport is None:
            raise LinkLost(f"The connection to {self.address} is closed.")
        channel = transport.open_session(timeout=min(limit_s, _CONNECT_LIMIT_S))
        try:
            channel.settimeout(limit_s)
            yield channel
        finally:
            channel.close()

    def _open_sftp(self, channel: paramiko.Channel) -> paramiko.SFTPClient:
        import paramiko  # noqa: PLC0415

        try:
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except paramiko.SSHException as error:
            # A refused subsystem and a lost connection look the same; the next command tells.
            self.run(["true"], _CONNECT_LIMIT_S)
            raise LinkRefused(
                f"{self.address} takes commands but no files: its SSH server has no SFTP. Install it there (Debian: "
                "`apt install openssh-sftp-server`; OpenWrt: `opkg install openssh-sftp-server`), and see that its "
                "sshd_config has a line 'Subsystem sftp'."
            ) from error

    def _drain(self, channel: paramiko.Channel, deadline_s: float, timeout_s: float) -> CommandResult:
        """Both streams together: a command blocks for ever once the one that nobody reads has filled its window."""
        parts: tuple[list[bytes], list[bytes]] = ([], [])
        size = 0
        while True:
            # asked before reading, so that nothing sent before the end is missed
            is_over = channel.closed or (channel.exit_status_ready() and channel.eof_received)
            got = False
            if channel.recv_ready():
                parts[0].append(channel.recv(_CHUNK_BYTES))
                got = True
            if channel.recv_stderr_ready():
                parts[1].append(channel.recv_stderr(_CHUNK_BYTES))
                got = True
            size = sum(len(chunk) for chunk in parts[0]) + sum(len(chunk) for chunk in parts[1]) if got else size
            if size > 2 * MAX_OUTPUT_BYTES or (is_over and not got):
                break
            if time.monotonic() > deadline_s:
                raise LinkLost(f"{self.address} did not finish a command within {timeout_s:.0f} s.")
            if not got:
                time.sleep(_IDLE_S)
        code = channel.recv_exit_status() if channel.exit_status_ready() else -1  # -1: a signal or a lost link
        return CommandResult(
            return_code=None if code < 0 else code, stdout=b"".join(parts[0]), stderr=b"".join(parts[1])
        )

    def _connected(self) -> paramiko.SSHClient:
        if self._client is None:
            raise LinkLost(f"There is no connection to {self.address}.")
        return self._client

    def _open(self) -> paramiko.SSHClient:
        try:
            import paramiko  # noqa: PLC0415
        except ImportError as error:
            raise RuntimeMissing("SSH devices need paramiko. Install it: `pip install 'proxyless[agent]'`.") from error
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_policy(self._link, self._host))
        try:
            if self._link.host_key_sha256 is None:
                _load_known_hosts(client, self._link)
            client.connect(
                self._host,
                port=self._link.port,
                username=self._user,
                key_filename=_key_file(self._link),
                allow_agent=self._link.use_ssh_agent,
                look_for_keys=self._link.key_file is None and not self._link.use_ssh_agent,
                timeout=_CONNECT_LIMIT_S,
                banner_timeout=_CONNECT_LIMIT_S,
                auth_timeout=_CONNECT_LIMIT_S,
            )
        except paramiko.BadHostKeyException as error:
            client.close()
            # known_hosts names the port only where it is not the usual one
            entry = self._host if self._link.port == _SSH_PORT else f"[{self._host}]:{self._link.port}"
            raise LinkRefused(
                f"{self.address} shows another host key than the known one. If the board was set up anew, remove "
                f"the old line (`ssh-keygen -R '{entry}'`); if not, somebody else answers."
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            is_about_keys = _is_about_keys(client, error)
            client.close()
            if is_about_keys:
                raise LinkRefused(
                    f"{self.address} does not accept our key ({error}). Copy the public key there (`ssh-copy-id`), or "
                    "name the right one under transport.key_file in the device file. A key with a passphrase is used "
                    "through the ssh agent only: `ssh-add` it, and set transport.use_ssh_agent: true."
                ) from error
            raise LinkLost(f"{self.address} could not be reached: {error}.") from error
        except (LinkRefused, ConfigError):
            client.close()
            raise
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)
        return client

    def _push_error(self, error: OSError, directory: str) -> DeviceNotReady:
        # SFTP has one word, "Failure", for all that OpenSSH does not translate; a full disk is among it.
        if "Failure" in str(error) or "size mismatch" in str(error):
            return DeviceFull(
                f"{self.address} could not store a file in {directory} ({error}), most likely because its disk is "
                "full. Free some space and start again."
            )
        return DeviceNotReady(
            f"{self.address} does not let us write into {directory}: {error}. Name another folder under 'directory' "
            "in the device file."
        )


def from_environment(value: str, key: str) -> str:
    """A word of the device file, or the environment variable that it names with ``$``."""
    if not value.startswith("$"):
        return value
    found = os.environ.get(value[1:])
    if not found:
        raise ConfigError(
            f"{key} is {value}, but that environment variable is not set. Set it, or write the name itself."
        )
    return found


def _is_about_keys(client: paramiko.SSHClient, error: Exception) -> bool:
    """Whether logging in failed for want of a key. paramiko raises what went wrong last, such as that an RSA key which
    was refused is no Ed25519 key either: so what happens while the connection stands counts, too."""
    import paramiko  # noqa: PLC0415

    transport = client.get_transport()
    is_up = transport is not None and transport.is_active()
    is_cut = any(word in str(error) for word in ("timeout", "EOF"))
    return not is_cut and (is_up or isinstance(error, paramiko.AuthenticationException))


def _load_known_hosts(client: paramiko.SSHClient, link: SshLink) -> None:
    from paramiko.hostkeys import InvalidHostKey  # noqa: PLC0415

    path = None if link.known_hosts is None else link.known_hosts.expanduser()
    if path is not None and not path.is_file():
        raise ConfigError(f"transport.known_hosts names {path}, which is not there.")
    try:
        client.load_system_host_keys() if path is None else client.load_host_keys(str(path))
    except (InvalidHostKey, ValueError) as error:
        raise ConfigError(
            f"{path or '~/.ssh/known_hosts'} holds a line that is no host key ({printable(str(error), 200)}). Correct "
            "or remove that line, or pin the board's key with transport.host_key_sha256 in the device file."
        ) from error


def _key_file(link: SshLink) -> str | None:
    if link.key_file is None:
        return None
    path = link.key_file.expanduser()
    try:
        with path.open("rb") as file:
            is_private = b"PRIVATE KEY" in file.readline(100)
    except OSError as error:
        raise ConfigError(f"transport.key_file names {path}, which cannot be read: {error.strerror}.") from error
    if not is_private:
        raise ConfigError(f"transport.key_file names {path}, which is no private key; its public half ends in '.pub'.")
    return str(path)


def _policy(link: SshLink, host: str) -> paramiko.MissingHostKeyPolicy:
    import paramiko  # noqa: PLC0415

    class PinnedOrRefused(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, _: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            shown = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
            if link.host_key_sha256 is not None and link.host_key_sha256.removeprefix("SHA256:").rstrip("=") == shown:
                return
            what = "not the pinned one" if link.host_key_sha256 else "not known"
            raise LinkRefused(
                f"The host key of {hostname} (SHA256:{shown}) is {what}. Compare it with what the board itself "
                f"says (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`); then log in once with "
                f"`ssh -p {link.port} {host}`, or set transport.host_key_sha256 in the device file."
            )

    return PinnedOrRefused()
