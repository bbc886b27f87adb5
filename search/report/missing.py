"""What a section says when its part of the run is not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Missing:
    """``what`` is missing, and ``command`` makes it."""

    what: str
    command: str


def missing(what: str, verb: str, folder: Path) -> Missing:
    return Missing(what, f"proxyless {verb} {folder}")
