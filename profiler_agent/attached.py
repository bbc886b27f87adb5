"""What is attached: this machine, always."""

from __future__ import annotations

import platform
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Attached:
    """``mend`` says what to do when ``state`` is not ``ready``."""

    address: str
    kind: str
    state: str
    mend: str = ""


def attached_devices() -> list[Attached]:
    """Everything that could be timed now, and what could be after its mend."""
    return [Attached(address=platform.node() or "this machine", kind="local", state="ready")]
