"""The spaces and the data that our search and a peer's share: both build their networks from these very ops.

Read by programs of either environment, so it imports nothing that only one of them has.
"""

from __future__ import annotations

import dataclasses

import torch

from benchmarks.search_setting import make_setting
from latency_model.ops import ZeroSpec
from search.batches import SplitData, split_data
from search.data.image_data import ImageData
from search.data.load import load_dataset
from search.space import Position, SearchSpace
from search.spaces.small import small_space

BATCH = 64
BATCHES_PER_PASS = 20
NOISE_SIDE, NOISE_CLASSES = 32, 10
DIGITS_SIDE, DIGITS_HELD_OUT = 16, 0.3


def peer_space(name: str, data: SplitData) -> SearchSpace:
    """``skip-7``, ``skip-13``: the small space, with each MBConv once or twice, and skip where it is legal (that one is
    counted). ``plain-6``: so many MBConvs at every position and no skip, as in ``search_setting``."""
    kind, _, count = name.partition("-")
    if kind == "plain":
        return make_setting("small", int(count)).space
    space = small_space(data.data.image_shape, data.data.class_count)
    positions = tuple(_repeated(position, (int(count) - 1) // 6) for position in space.positions)
    return dataclasses.replace(space, positions=positions)


def _repeated(position: Position, times: int) -> Position:
    blocks = tuple(c for c in position.candidates if not isinstance(c.op, ZeroSpec))
    skips = tuple(c for c in position.candidates if isinstance(c.op, ZeroSpec))
    return dataclasses.replace(position, candidates=blocks * times + skips)


def peer_data() -> SplitData:
    """Colour images of 32 pixels, for timing."""
    generator = torch.Generator().manual_seed(0)
    count = 2 * BATCH * BATCHES_PER_PASS
    images = torch.randint(
        256, (count + NOISE_CLASSES, 3, NOISE_SIDE, NOISE_SIDE), generator=generator, dtype=torch.uint8
    )
    labels = torch.arange(count + NOISE_CLASSES) % NOISE_CLASSES
    data = ImageData(
        name="noise",
        train_images=images[:count],
        train_labels=labels[:count],
        test_images=images[count:],
        test_labels=labels[count:],
        class_names=tuple(str(label) for label in range(NOISE_CLASSES)),
        hash="noise",
    )
    return split_data(data, held_out_fraction=0.5, seed=0)


def digits() -> SplitData:
    """scikit-learn's digits at 16 pixels, to be learnt."""
    return split_data(load_dataset("digits", image_size=DIGITS_SIDE), held_out_fraction=DIGITS_HELD_OUT, seed=0)
