"""RemoteShell: one way to run a script on a device and to know whether it ran to its end."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from profiler_agent.errors import AgentOutputError, LinkLost, LinkRefused, WrongDevice
from profiler_agent.transport import MAX_OUTPUT_BYTES, Transport

T = TypeVar("T")
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 4.0


@dataclass(frozen=True, kw_only=True)
class ShellResult:
    """A script's exit code and output; ``stderr`` is made printable."""

    return_code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return printable(self.stdout)


def printable(data: bytes | str, limit: int = 2000) -> str:
    """Text from a device without control characters, its end kept when it is too long."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return text if len(text) <= limit else "..." + text[-limit:]


class RemoteShell:
    """Runs scripts through a transport; a lost link is tried again with growing pauses.

    A script counts as run only when its closing record came back: exit codes alone say 0 when an adb link
    dies. Scripts must therefore be harmless to run twice.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        reconnect_limit_s: float = 60.0,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.transport = transport
        self.reconnect_limit_s = reconnect_limit_s
        self._clock_s = clock_s
        self._sleep = sleep
        self.after_reconnect: Callable[[], None] | None = None

    def run(self, script: str, *arguments: str, timeout_s: float = 20.0) -> ShellResult:
        """Run ``script`` under the device's sh with ``$1``... set, once."""
        nonce = secrets.token_hex(8)
        wrapped = f"echo proxyless-begin-{nonce}\n({script}\n)\nprintf '\\nproxyless-end-{nonce} %s\\n' $?"
        result = self.transport.run(["sh", "-c", wrapped, "proxyless", *arguments], timeout_s)
        if len(result.stdout) > MAX_OUTPUT_BYTES:
            raise AgentOutputError(
                f"{self.transport.address} sent {len(result.stdout)} bytes for one command; "
                f"the limit is {MAX_OUTPUT_BYTES}. Nothing of it was used."
            )
        # Programs on the way (adb starting its server, a login shell) may say something before us.
        _, begun, body = result.stdout.partition(f"proxyless-begin-{nonce}\n".encode())
        body, found, trailer = body.rpartition(f"\nproxyless-end-{nonce} ".encode())
        code = trailer.strip()
        if not begun or not found or re.fullmatch(b"[0-9]{1,3}", code) is None:
            said = printable(result.stderr).strip() or f"exit code {result.return_code}"
            raise LinkLost(f"The link to {self.transport.address} ended in mid-command ({said}).")
        return ShellResult(return_code=int(code), stdout=body, stderr=printable(result.stderr))

    def insist(self, script: str, *arguments: str, timeout_s: float = 20.0) -> ShellResult:
        """``run``, tried again over a new link as long as ``reconnect_limit_s`` allows."""
        return self.persist(lambda: self.run(script, *arguments, timeout_s=timeout_s))

    def push(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        """Copy files into a folder of the device, again if the link is lost."""
        self.persist(lambda: self.transport.push(files, directory))

    def persist(self, action: Callable[[], T]) -> T:
        """Do ``action``; when the link is lost, make it anew and do it again, for ``reconnect_limit_s``."""
        deadline_s: float | None = None
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return action()
            except (LinkRefused, WrongDevice):
                raise
            except LinkLost as error:
                lost = error
            if deadline_s is None:  # from the first loss on: the action itself may have taken long
                deadline_s = self._clock_s() + self.reconnect_limit_s
            while True:
                if self._clock_s() + wait_s > deadline_s:
                    raise LinkLost(
                        f"{lost} It did not come back within {self.reconnect_limit_s:.0f} s. Check the cable or "
                        "the network and start again; with the same work folder the run resumes where it stopped."
                    ) from lost
                self._sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                try:
                    self.transport.reconnect()
                    if self.after_reconnect is not None:
                        self.after_reconnect()
                    break
                except LinkLost as error:
                    lost = error
