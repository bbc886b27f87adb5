"""Our search as a program that takes turns with a peer's: ``python -m benchmarks.peers_ours full skip-7``.

One turn is one weight and one architecture step of ``SearchTrainer`` with its batches, augmentation and event log.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.peers_space import BATCH, peer_data, peer_space
from benchmarks.peers_turns import Turns
from benchmarks.search_setting import analytic_target
from search.allocator import keep_freed_memory
from search.settings import SearchSettings
from search.trainer import SearchFiles, SearchTrainer


def main() -> None:
    estimator, space_name = sys.argv[1:]
    keep_freed_memory()
    torch.set_num_threads(1)
    data = peer_data()
    space = peer_space(space_name, data)
    settings = SearchSettings(
        warmup_steps=0,
        search_steps=1000,
        batch_size=BATCH,
        architecture_batch_size=BATCH,
        learning_rate=0.01,
        estimator=estimator,  # type: ignore[arg-type]
        weight_steps_per_architecture_step=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        files = SearchFiles(folder=Path(folder))
        trainer = SearchTrainer(space, data, [analytic_target(space, 1.0)], settings, files)
        turns = Turns()
        while True:
            turns.begin()
            trainer.take_step()
            turns.end()


if __name__ == "__main__":
    main()
