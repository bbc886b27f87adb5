"""A phone through the ``adb`` binary: one call per verb, always by serial, always with a time limit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from profiler_agent.device import AdbLink
from profiler_agent.errors import DeviceFull, DeviceNotReady, LinkLost, LinkRefused, RuntimeMissing
from profiler_agent.remote_shell import printable
from profiler_agent.transport import CommandResult
from profiler_agent.transports.bounded_process import run_bounded

_QUERY_LIMIT_S = 15.0
_CONNECT_LIMIT_S = 10.0
_PUSH_LIMIT_S = 30.0
_SLOWEST_PUSH_BYTES_PER_S = 500_000
_FILES_PER_PUSH = 100

MENDS = {
    "unauthorized": "Unlock the phone and accept 'Allow USB debugging' on its screen; if no question appears, "
    "run `adb kill-server` and plug it in again.",
    "offline": "Unplug and plug it in again, or turn USB debugging off and on; a network device needs `adb disconnect` "
    "first.",
    "no permissions": "Add the udev rules of your distribution (Debian: package android-sdk-platform-tools-common) and "
    "plug it in again.",
    "authorizing": "Wait a moment; the phone is answering.",
    "recovery": "Start the phone's system: `adb reboot`.",
    "sideload": "Start the phone's system: `adb reboot`.",
    "bootloader": "Start the phone's system: `fastboot reboot`.",
}


def find_adb(wanted: Path | None = None) -> Path:
    """The adb binary: the device file's, then ``$ADB``, then the one on the path.

    Raises:
        RuntimeMissing: there is none.
    """
    named = wanted or (Path(os.environ["ADB"]) if os.environ.get("ADB") else None)
    if named is not None:
        named = named.expanduser()
        if not named.is_file() or not os.access(named, os.X_OK):
            raise RuntimeMissing(f"{named} is no program. Correct transport.adb in the device file, or $ADB.")
        return named
    found = shutil.which("adb")
    if found is None:
        raise RuntimeMissing(
            "No adb on this machine. Install it (Debian and Ubuntu: `apt install adb`), or give its path under "
            "transport.adb in the device file or in $ADB."
        )
    return Path(found)


def attached_serials(adb: Path) -> dict[str, str]:
    """Serial to state, as `adb devices` tells it.

    Raises:
        RuntimeMissing: ``adb`` is no program.
        DeviceNotReady: adb or its server does not answer.
    """
    for pause_s in (0.2, 1.0, None):  # somebody may just be restarting its server
        try:
            done = subprocess.run(
                [adb, "devices"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_QUERY_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceNotReady("`adb devices` does not answer. Run `adb kill-server` and try again.") from error
        except OSError as error:
            raise RuntimeMissing(
                f"{adb} cannot be run: {error.strerror}. Correct transport.adb in the device file, or $ADB."
            ) from error
        if done.returncode == 0 or pause_s is None:
            break
        time.sleep(pause_s)
    if done.returncode != 0:
        raise DeviceNotReady(f"`adb devices` failed: {printable(done.stderr).strip()}. Run `adb kill-server`.")
    states = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        serial, tab, state = line.partition("\t")
        if tab and serial:
            state = printable(state).strip()
            states[printable(serial)] = "no permissions" if state.startswith("no permissions") else state
    return states


class AdbTransport:
    """Talks to one device. An exit code is not trusted: adb says 0 when the link dies in mid-command, and
    ``RemoteShell`` asks for a closing record."""

    default_directory = "/data/local/tmp/proxyless"

    def __init__(self, link: AdbLink) -> None:
        self._adb = find_adb(link.adb)
        self._is_network = link.serial is not None and ":" in link.serial
        self._serial = link.serial or ""
        if self._is_network and attached_serials(self._adb).get(self._serial) != "device":
            self._connect_network()
        self._serial = self._choose(link.serial)

    @property
    def address(self) -> str:
        return f"adb device {self._serial}"

    def push(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        for start in range(0, len(files), _FILES_PER_PUSH):
            self._push_some(files[start : start + _FILES_PER_PUSH], directory)

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        # `exec`, so that what adbd signals when we hang up is the command itself and not a shell around it.
        done = self._call(["shell", "-T", "-n", "exec " + shlex.join(argv)], timeout_s)
        self._raise_link_errors(done)
        return done

    def reconnect(self) -> None:
        if self._is_network:
            self._connect_network()
        done = self._call(["get-state"], _CONNECT_LIMIT_S)
        self._raise_link_errors(done)
        if done.stdout.strip() != b"device":
            raise LinkLost(f"{self.address} is {printable(done.stdout).strip() or 'gone'}.")

    def close(self) -> None:
        """Nothing to do: every call is a connection of its own; the adb server is the user's."""

    def _choose(self, wanted: str | None) -> str:
        states = attached_serials(self._adb)
        if wanted is None:
            ready = [serial for serial, state in states.items() if state == "device"]
            if len(states) != 1:
                several = "Name one under transport.serial in the device file: " + ", ".join(states)
                none = "Plug one in and turn on USB debugging in its developer options."
                raise DeviceNotReady(f"adb sees {len(states)} devices. {several if states else none}")
            wanted = ready[0] if ready else next(iter(states))
        state = states.get(wanted)
        if state == "device":
            return wanted
        if state is None:
            seen = ", ".join(states) or "none"
            raise DeviceNotReady(
                f"adb does not see {wanted}; it sees: {seen}. Plug it in and turn on USB debugging, or correct "
                "transport.serial in the device file."
            )
        raise DeviceNotReady(f"adb device {wanted} is {state}. {MENDS.get(state, 'See `proxyless device list`.')}")

    def _connect_network(self) -> None:
        # A dead connection is kept as `offline` for ever; only a new one helps.
        self._call(["disconnect", self._serial], _CONNECT_LIMIT_S, with_serial=False)
        done = self._call(["connect", self._serial], _CONNECT_LIMIT_S, with_serial=False)
        words = printable(done.stdout + done.stderr).strip()
        if "connected to" not in words and "unauthorized" not in words and "authenticate" not in words:
            raise LinkLost(f"adb could not connect to {self._serial}: {words}.")

    def _push_some(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        size = sum(path.stat().st_size for path, _ in files)
        with tempfile.TemporaryDirectory(prefix="proxyless-push-") as stage:
            for path, name in files:
                (Path(stage) / name).symlink_to(path.resolve())
            sources = [str(Path(stage) / name) for _, name in files]
            limit_s = _PUSH_LIMIT_S + size / _SLOWEST_PUSH_BYTES_PER_S
            done = self._call(["push", *sources, f"{directory}/"], limit_s)
        if done.return_code == 0:
            return
        words = printable(done.stdout + done.stderr).strip()
        if "No space left" in words:
            raise DeviceFull(f"{self.address} is full: {words[-200:]}. Free some space on it and start again.")
        if "Read-only" in words or "Permission denied" in words:
            raise DeviceNotReady(
                f"{self.address} does not let us write into {directory}: {words[-200:]}. Name another folder under "
                "'directory' in the device file."
            )
        self._raise_link_errors(done)
        raise LinkLost(f"A push to {self.address} broke off: {words[-200:]}.")

    def _call(self, arguments: Sequence[str], timeout_s: float, *, with_serial: bool = True) -> CommandResult:
        argv = [str(self._adb), *(("-s", self._serial) if with_serial else ()), *arguments]
        try:
            return run_bounded(argv, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LinkLost(f"{self.address} did not answer `adb {arguments[0]}` within {timeout_s:.0f} s.") from error
        except OSError as error:  # removed, or no more files may be opened
            raise LinkLost(f"{self._adb} could not be run: {error.strerror}.") from error

    def _raise_link_errors(self, done: CommandResult) -> None:
        """adb's own complaints come before anything the device says."""
        words = printable(done.stderr).strip()
        complaint = next((line for line in words.splitlines() if line.startswith(("error:", "adb: error:"))), "")
        if "unauthorized" in complaint:
            raise LinkRefused(f"{self.address} is unauthorized. {MENDS['unauthorized']}")
        if "pty" in complaint.lower():  # its adbd has but one stream, and that a terminal
            raise LinkRefused(
                f"{self.address} has an Android before 7, whose adb tells no exit codes. The agent needs Android 8 or "
                "later: use another phone."
            )
        if complaint and done.return_code != 0:
            raise LinkLost(f"{self.address}: {complaint}.")
