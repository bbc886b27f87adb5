"""Our architecture steps as a program that takes turns: ``python -m benchmarks.peers_architecture all-paths 6``."""

from __future__ import annotations

import sys

import torch

from benchmarks.peers_turns import Turns
from benchmarks.search_setting import make_setting, make_step
from search.allocator import keep_freed_memory


def main() -> None:
    kind, candidate_count = sys.argv[1:]
    keep_freed_memory()
    torch.set_num_threads(1)
    step = make_step(make_setting("small", int(candidate_count)), kind)  # type: ignore[arg-type]
    turns = Turns()
    while True:
        turns.begin()
        step()
        turns.end()


if __name__ == "__main__":
    main()
