"""One configuration in its own process, for a clean peak: ``python -m benchmarks.memory_probe small 6 full [batch]``.

Prints one JSON object: bytes that the step adds to the resident set at its peak, the whole peak, and the bytes that
autograd keeps for backward, at most at a time.
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
    """The most bytes of distinct storages that autograd keeps for backward at a time, parameters left out."""
    holders: dict[int, int] = {}
    now = most = 0

    class Kept:
        """Lives as long as autograd keeps the tensor."""

        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal now, most
            self.tensor, self.storage = (
                tensor.detach(),
                tensor.untyped_storage(),
            )  # attached, it would keep its own graph
            self.place = self.storage.data_ptr()
            holders[self.place] = holders.get(self.place, 0) + 1
            now += self.storage.nbytes() if holders[self.place] == 1 else 0
            most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            holders[self.place] -= 1
            now -= self.storage.nbytes() if holders[self.place] == 0 else 0

    def keep(tensor: torch.Tensor) -> torch.Tensor | Kept:
        return tensor if isinstance(tensor, torch.nn.Parameter) else Kept(tensor)

    def give(kept: torch.Tensor | Kept) -> torch.Tensor:
        return kept.tensor if isinstance(kept, Kept) else kept

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        step()
    assert now == 0, f"{now} bytes are still kept"
    return most


if __name__ == "__main__":
    main()
