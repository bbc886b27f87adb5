"""Turns a data set and a step number into the very batch of that step: split, shuffled, augmented, normalised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from search.data.augment import augment, augmentation_for, channel_statistics, normalise
from search.data.batches import ShuffledBatches, seeded_generator
from search.data.image_data import ImageData
from search.data.split import split_held_out

HASH_LENGTH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitData:
    """The training part, divided into images for weights and held-out images for everything that chooses."""

    data: ImageData
    train_index: Tensor
    held_out_index: Tensor
    mean: Tensor
    std: Tensor
    seed: int

    @cached_property
    def hash(self) -> str:
        """Names which images train, which are held out, and how batches are drawn."""
        digest = hashlib.sha256(f"{self.seed} {len(self.train_index)}".encode())
        for index in (self.train_index, self.held_out_index):
            digest.update(index.contiguous().numpy().data)
        return digest.hexdigest()[:HASH_LENGTH]

    def train_batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """The augmented batch of this step. It depends on the seed and the step alone."""
        images, labels = self._batch(self.train_index, step, batch_size, "train")
        generator = seeded_generator(self.seed, "augmentation", step)
        return _channels_last(augment(images, generator, augmentation_for(self.data))), labels

    def held_out_batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """A shuffled batch of held-out images, not augmented."""
        images, labels = self._batch(self.held_out_index, step, batch_size, "held out")
        return _channels_last(images), labels

    def test_batches(self, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """The whole test part, in order."""
        parts = zip(
            torch.split(self.data.test_images, batch_size), torch.split(self.data.test_labels, batch_size), strict=True
        )
        return [(_channels_last(normalise(images, self.mean, self.std)), labels) for images, labels in parts]

    def train_steps_per_pass(self, batch_size: int) -> int:
        return ShuffledBatches(len(self.train_index), batch_size, self.seed).batches_per_epoch

    def _batch(self, index: Tensor, step: int, batch_size: int, purpose: str) -> tuple[Tensor, Tensor]:
        purpose_seed = seeded_generator(self.seed, purpose).initial_seed()
        batches = ShuffledBatches(len(index), batch_size, purpose_seed)
        chosen = index[batches.batch_index(step)]
        return normalise(self.data.train_images[chosen], self.mean, self.std), self.data.train_labels[chosen]


def split_data(data: ImageData, *, held_out_fraction: float, seed: int) -> SplitData:
    """Carve the held-out part from the training part; mean and deviation come from what is left."""
    train_index, held_out_index = split_held_out(
        data.train_labels, fraction=held_out_fraction, generator=seeded_generator(seed, "held-out split")
    )
    mean, std = channel_statistics(data.train_images[train_index])
    return SplitData(data=data, train_index=train_index, held_out_index=held_out_index, mean=mean, std=std, seed=seed)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
