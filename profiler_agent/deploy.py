"""What is put on a device and how it gets there: hashed on the device, then renamed; swept afterwards."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Sequence

from profiler_agent import folder_scripts
from profiler_agent.bundle import DeviceFile
from profiler_agent.errors import AgentOutputError, DeviceFull, DeviceNotReady
from profiler_agent.remote_shell import RemoteShell

CACHE = "cache"
_SLOWEST_HASH_BYTES_PER_S = 5_000_000
_LONGEST_CHECK_S = 120.0
_FILES_PER_CALL = 49  # their names fit into the 4 kB that old phones take for a command


class DeviceFolder:
    """Our folder on the device: a cache of files under their content's name, and one folder per agent run."""

    def __init__(self, shell: RemoteShell, directory: str | None, *, keep_runs: Sequence[str] = ()) -> None:
        self._shell = shell
        wanted = posixpath.normpath(directory or shell.transport.default_directory)
        result = shell.insist(folder_scripts.OPEN, wanted, *keep_runs)
        path = result.text.strip()
        if result.return_code == folder_scripts.NO_HASHES:
            raise DeviceNotReady(
                f"{shell.transport.address} has no sha256sum, with which every file is checked when it has arrived. A "
                "phone needs Android 8 or later; on a board install coreutils, or a busybox that has it."
            )
        if result.return_code == folder_scripts.NOT_OURS:
            raise DeviceNotReady(
                f"The folder {wanted} on {shell.transport.address} holds {path!r}, which is none of ours. Whatever is "
                "in our folder may be removed, so it must be one of its own: name another one under 'directory' in "
                "the device file. Nothing was touched."
            )
        if result.return_code != 0:
            raise DeviceNotReady(
                f"The folder {wanted} on {shell.transport.address} cannot be written or belongs to another user "
                f"({result.stderr.strip() or 'no reason given'}). Name another one under 'directory' in the device "
                "file."
            )
        if not path.startswith("/") or "\n" in path or ".." in path.split("/"):
            raise AgentOutputError(f"{shell.transport.address} named its folder {path!r}; that is no absolute path.")
        self.path = path
        self.places_filled: set[str] = set()  # beside the cache

    def cached(self, sha256: str) -> str:
        """Where the file with that content stands on the device."""
        return f"{self.path}/cache/{sha256}"

    def put(self, files: Sequence[DeviceFile], place: str = CACHE) -> int:
        """Bring files into a folder below ours, but those already there (checked by hash); returns how many were sent.

        Raises:
            DeviceFull, DeviceNotReady: a file did not arrive whole.
        """
        if place != CACHE:
            self.places_filled.add(place)
        return sum(self._put_some(part, place) for part in _parts(files))

    def has(self, files: Sequence[DeviceFile], place: str) -> bool:
        """Whether all of these are in a folder below ours, and whole; this machine need not have them."""
        return all(len(self._whole(part, place, _LONGEST_CHECK_S)) == len(part) for part in _parts(files))

    def _put_some(self, files: Sequence[DeviceFile], place: str) -> int:
        present = self._whole(files, place, 20.0 + _hashing_s(files))
        missing = [file for file in files if file.sha256 not in present]
        if missing:
            self._send(missing, place)
        return len(missing)

    def _whole(self, files: Sequence[DeviceFile], place: str, limit_s: float) -> set[str]:
        names = [file.sha256 for file in files]
        found = self._shell.insist(folder_scripts.CHECK, f"{self.path}/{place}", *names, timeout_s=limit_s).text
        return set(found.split()) & set(names)

    def _send(self, files: Sequence[DeviceFile], place: str) -> None:
        stage = f"stage-{secrets.token_hex(8)}"
        self._shell.insist('mkdir -p -m 700 "$1/$2"', self.path, stage)
        try:
            self._shell.push([(file.path, file.sha256) for file in files], f"{self.path}/{stage}")
            words = [file.sha256 + ("+x" if file.is_executable else "") for file in files]
            limit_s = 60.0 + _hashing_s(files)
            broken = self._shell.insist(folder_scripts.ACCEPT, self.path, stage, place, *words, timeout_s=limit_s)
        finally:
            self._shell.insist('rm -rf "$1/$2"', self.path, stage)
        if broken.text.strip() or broken.return_code:
            raise self._explain_broken(len(broken.text.split()))

    def _explain_broken(self, count: int) -> DeviceNotReady:
        free_kb = self.free_kb()
        message = f"{count} file(s) did not arrive whole on {self._shell.transport.address}"
        if free_kb is not None and free_kb < 1024:  # noqa: PLR2004 - less than a megabyte is full
            return DeviceFull(f"{message}: {free_kb} kB are free in {self.path}. Free some space and start again.")
        return DeviceNotReady(
            f"{message}; nothing of them is used. Try again; if it stays, check the device's storage."
        )

    def free_kb(self) -> int | None:
        """Free space, None when the device does not say."""
        words = self._shell.insist('df -k "$1" | tail -n 1', self.path).text.split()
        return int(words[-3]) if len(words) >= 3 and re.fullmatch("[0-9]{1,18}", words[-3]) else None  # noqa: PLR2004

    def remove_place(self, place: str) -> None:
        """Remove a folder that ``put`` filled, with all that is in it."""
        self._shell.insist('rm -rf "$1/$2"', self.path, place)
        self.places_filled.discard(place)

    def remove_run(self, name: str) -> None:
        self._shell.insist('rm -rf "$1/$2"', self.path, name)

    def is_held(self) -> bool:
        """Whether a host has a run here and looks after it."""
        return self._shell.insist(folder_scripts.IS_FREE, self.path).return_code == 1

    def stop_agents(self) -> None:
        self._shell.insist(folder_scripts.STOP_ALL, self.path, timeout_s=60)

    def remove(self) -> None:
        """Leave nothing behind, and no folder above ours that was not there before us.

        Raises:
            DeviceNotReady: something could not be removed.
        """
        # Asked for on its own: a removal that is done again over a new link must still know it.
        made = self._shell.insist('cat "$1/made_above" 2>/dev/null', self.path).text.strip()
        is_above = made.startswith("/") and made != "/" and self.path.startswith(f"{made}/")
        result = self._shell.insist(folder_scripts.REMOVE, self.path, made if is_above else "")
        if result.return_code != 0:
            why = result.stderr.strip().rpartition("\n")[2]
            raise DeviceNotReady(
                f"{self.path} on {self._shell.transport.address} could not be removed: {why}. See to whom its files "
                "belong, and remove it by hand."
            )


def _parts(files: Sequence[DeviceFile]) -> list[list[DeviceFile]]:
    """Each content once, as many at a time as one call takes."""
    wanted = list({file.sha256: file for file in files}.values())
    return [wanted[start : start + _FILES_PER_CALL] for start in range(0, len(wanted), _FILES_PER_CALL)]


def _hashing_s(files: Sequence[DeviceFile]) -> float:
    """How long a slow device may take to hash these."""
    return sum(file.path.stat().st_size for file in files) / _SLOWEST_HASH_BYTES_PER_S
