"""When this process began, by the kernel's book: the interpreter's own start is the runner's time too."""

from __future__ import annotations

import os
import time

_LONGEST_START_S = 120.0
_START_FIELD = 19  # of /proc/PID/stat, counted from the state, which follows the program's name


def start_up_s() -> float:
    """Seconds since the kernel made this process; 0 where it does not say."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - small, old Pythons
            stat = file.read()
        return age_s(stat, os.sysconf("SC_CLK_TCK"), time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return 0.0


def age_s(stat: str, ticks_per_s: int, since_boot_s: float) -> float:
    """The age of the process of a /proc/PID/stat line; 0 for a line, or an age, that cannot be."""
    try:
        began_s = int(stat.rpartition(")")[2].split()[_START_FIELD]) / ticks_per_s
    except (IndexError, ValueError, ZeroDivisionError):
        return 0.0
    age = since_boot_s - began_s
    return age if 0.0 <= age <= _LONGEST_START_S else 0.0
