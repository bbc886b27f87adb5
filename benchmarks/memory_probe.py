"""One configuration in its own process, for a clean peak: ``python -m benchmarks.memory_probe small 6 full [batch]``.

Prints one JSON object: bytes that the step adds to the resident set at its peak, the whole peak, and the bytes that
autograd saved for backward.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.search_setting import make_setting, make_step

STEPS = 2


def main() -> None:
    outline, candidate_count, kind, *batch_size = sys.argv[1:]
    torch.set_num_threads(1)
    setting = make_setting(outline, int(candidate_count))  # type: ignore[arg-type]
    if batch_size:
        setting = replace(setting, batch_size=int(batch_size[0]))
    step = make_step(setting, kind)  # type: ignore[arg-type]
    before = resident_bytes()
    for _ in range(STEPS):
        step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"step_bytes": peak - before, "peak_bytes": peak, "saved_bytes": saved_bytes(step)}))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def saved_bytes(step: Callable[[], None]) -> int:
    """Bytes of distinct storages that autograd keeps for backward, parameters left out."""
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # a freed storage's address would be used again
        return tensor

    alive: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(seen.values())


if __name__ == "__main__":
    main()
