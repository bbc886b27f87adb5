"""Step times in a process of its own: ``python -m benchmarks.step_probe small 6 kept plain,weight``.

The kinds of step are taken in turns, so that a busy machine slows all of them alike. Prints one JSON object with the
CPU milliseconds of each turn. ``kept`` or ``released``: whether freed memory stays in the process.
"""

from __future__ import annotations

import json
import sys
import time

import torch

from benchmarks.search_setting import make_setting, make_step
from search.allocator import keep_freed_memory

WARM_UPS = 3


def main() -> None:
    outline, candidate_count, memory, kinds, turns = sys.argv[1:]
    if memory == "kept":
        keep_freed_memory()
    torch.set_num_threads(1)
    setting = make_setting(outline, int(candidate_count))  # type: ignore[arg-type]
    steps = {kind: make_step(setting, kind) for kind in kinds.split(",")}  # type: ignore[arg-type]
    times_ms: dict[str, list[float]] = {kind: [] for kind in steps}
    for turn in range(WARM_UPS + int(turns)):
        for kind, step in steps.items():
            started = time.process_time()
            step()
            if turn >= WARM_UPS:
                times_ms[kind].append(1000 * (time.process_time() - started))
    print(json.dumps(times_ms))


if __name__ == "__main__":
    main()
