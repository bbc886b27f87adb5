"""Our search as a program that takes turns with a peer's: ``python -m benchmarks.peers_ours full skip-7``.

A step is one weight and one architecture step of ``SearchTrainer`` with its event log. Batches are made beforehand:
the peer's steps are timed without loading theirs, and it augments none.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peers_space import BATCH, BATCHES_PER_PASS, peer_data, peer_space
from benchmarks.peers_turns import Turns
from benchmarks.search_setting import analytic_target
from search.allocator import keep_freed_memory
from search.batches import SplitData
from search.settings import SearchSettings
from search.trainer import SearchFiles, SearchTrainer


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedData(SplitData):
    """One pass of batches, made before the first step."""

    train: tuple[tuple[Tensor, Tensor], ...]
    held_out: tuple[tuple[Tensor, Tensor], ...]

    def train_batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        assert batch_size == BATCH
        return self.train[step % len(self.train)]

    def held_out_batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        assert batch_size == BATCH
        return self.held_out[step % len(self.held_out)]


def prepared(data: SplitData) -> PreparedData:
    return PreparedData(
        **vars(data),
        train=tuple(data.train_batch(step, BATCH) for step in range(BATCHES_PER_PASS)),
        held_out=tuple(data.held_out_batch(step, BATCH) for step in range(BATCHES_PER_PASS)),
    )


def main() -> None:
    estimator, space_name = sys.argv[1:]
    keep_freed_memory()
    torch.set_num_threads(1)
    data = prepared(peer_data())
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
