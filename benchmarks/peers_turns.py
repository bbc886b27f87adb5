"""One step when asked for: the side of the programs that are timed in turns (``peers`` has the other).

Read by programs of either environment.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


class Turns:
    """Waits for a line on standard input before each step and answers with the step's CPU and wall time. When the input
    ends it answers with the memory that the steps took, and the process is over."""

    def __init__(self) -> None:
        self.before_bytes = resident_bytes()
        self.started = (0.0, 0.0)
        say({"ready": True})

    def begin(self) -> None:
        if not sys.stdin.readline():
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            say({"step_bytes": peak - self.before_bytes, "peak_bytes": peak})
            os._exit(0)  # a peer's training loop need not be unwound
        self.started = (time.process_time(), time.perf_counter())

    def end(self) -> None:
        cpu, wall = self.started
        say({"cpu_ms": 1000 * (time.process_time() - cpu), "wall_ms": 1000 * (time.perf_counter() - wall)})


def say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()
