"""Shuffled batches whose content depends only on the seed and the step."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from search.data.errors import DataError


def seeded_generator(*key: int | str) -> torch.Generator:
    """A generator that depends on all parts of the key: seed, purpose, step. Nothing else has to be saved
    to draw the same numbers again."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class ShuffledBatches:
    """Batches over ``count`` images, newly shuffled in each epoch, addressed by their step.

    There is no position to save: ``batch_index(step)`` is the same in a fresh process, so a resumed run sees
    exactly the batches of an unbroken one. Images that do not fill a last batch wait for the next epoch;
    with fewer images than ``batch_size`` a batch holds all of them.
    """

    count: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError("There are no images to make batches of; check the split and the limit.")
        if self.batch_size < 1:
            raise DataError(f"batch_size is {self.batch_size}; it must be 1 or more.")

    @property
    def batches_per_epoch(self) -> int:
        return max(self.count // self.batch_size, 1)

    def epoch(self, step: int) -> int:
        return step // self.batches_per_epoch

    def batch_index(self, step: int) -> Tensor:
        """Indices of the images of this step: (min(batch_size, count),), int64."""
        if step < 0:
            raise DataError(f"step is {step}; steps count from 0.")
        epoch, position = divmod(step, self.batches_per_epoch)
        order = _epoch_order(self.count, self.seed, epoch)
        return order[position * self.batch_size : (position + 1) * self.batch_size].clone()


@functools.lru_cache(maxsize=8)
def _epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=seeded_generator(seed, "epoch order", epoch))
