"""What is attached: this machine, and what adb sees; each with its state and the mend."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from profiler_agent.errors import DeviceNotReady
from profiler_agent.transports.adb import MENDS, attached_serials, find_adb


@dataclass(frozen=True, kw_only=True)
class Attached:
    """``mend`` says what to do when ``state`` is not ``ready``."""

    address: str
    kind: str
    state: str
    mend: str = ""


def attached_devices() -> list[Attached]:
    """Everything that could be timed now, and what could be after its mend."""
    return [Attached(address=platform.node() or "this machine", kind="local", state="ready"), *_adb_devices()]


def _adb_devices() -> list[Attached]:
    try:
        states = attached_serials(find_adb())
    except DeviceNotReady as error:
        return [Attached(address="adb", kind="adb", state="not there", mend=str(error))]
    if not states:
        mend = "No phone: plug one in, turn on USB debugging in its developer options, and unlock it."
        return [Attached(address="adb", kind="adb", state="nothing attached", mend=mend)]
    several = "Several phones: write this one's transport.serial into its device file." if len(states) > 1 else ""
    return [
        Attached(address=serial, kind="adb", state="ready", mend=several)
        if state == "device"
        else Attached(address=serial, kind="adb", state=state, mend=MENDS.get(state, "Unplug and plug it in again."))
        for serial, state in states.items()
    ]
