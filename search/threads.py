"""Settings of the numerical libraries that must stand in the environment before torch is loaded."""

from __future__ import annotations

import os

SPIN_COUNT = "10000"


def prepare_threads() -> None:
    """Let idle OpenMP threads spin for a moment only.

    libgomp's own default spins so long that beside another busy program two threads are slower than one. Measured for
    a step of the small space on two virtual cores, in ms: quiet 78 (default) and 88 (this); beside two busy programs
    1,250 (default), 540 (this), 250 (one thread).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
