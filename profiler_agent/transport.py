"""Transport: the few verbs in which a local process, adb and ssh differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MAX_OUTPUT_BYTES = 8 << 20  # no answer of ours is longer; what is longer comes from something else


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command left. ``return_code`` is None when the link does not tell it."""

    return_code: int | None
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """A way to a device. Every verb raises ``LinkLost`` when the link breaks or its time limit runs out, and
    ``LinkRefused`` when trying again is no use."""

    @property
    def address(self) -> str:
        """How a person would call the other end."""

    @property
    def default_directory(self) -> str:
        """Where our files go, absolute or under ``~/``."""

    def push(self, files: Sequence[tuple[Path, str]], directory: str) -> None:
        """Copy files into an existing folder of the device, each under the name given beside it."""

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run a command to its end, its input closed."""

    def reconnect(self) -> None:
        """Make the link anew after it was lost."""

    def close(self) -> None:
        """Let go of the link."""
