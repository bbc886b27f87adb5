"""A space and images so small that a whole search takes a second."""

from __future__ import annotations

import torch

from search.batches import SplitData, split_data
from search.data.image_data import ImageData
from search.space import SearchSpace
from search.spaces.ends import classifier_head, stem_conv
from search.spaces.mbconv_positions import MBConvMenu, Stage, mbconv_positions

CLASSES = 3
PIXELS = 8


def tiny_space() -> SearchSpace:
    """Two positions: one of two candidates that changes the shape, one of three with a shortcut and Zero."""
    stem = stem_conv((1, PIXELS, PIXELS), width=4, stride=1, activation="relu6")
    positions, width, size = mbconv_positions(
        [Stage(width=6, depth=2, stride=2)],
        in_channels=4,
        size=(PIXELS, PIXELS),
        menu=MBConvMenu(kernel_sizes=(3, 5), expansions=(2,)),
    )
    head = classifier_head(width, size, width=8, class_count=CLASSES, activation="relu6")
    return SearchSpace(name="tiny", stem=(("stem", stem),), positions=positions, head=head)


def small_data() -> SplitData:
    """Images whose class can be seen: a bright row at a height that tells the class."""
    generator = torch.Generator().manual_seed(7)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % CLASSES
        images = torch.randint(0, 80, (count, 1, PIXELS, PIXELS), generator=generator, dtype=torch.uint8)
        for index, label in enumerate(labels.tolist()):
            images[index, 0, 2 * label + 1] += 150
        return images, labels

    (train_images, train_labels), (test_images, test_labels) = part(240), part(60)
    whole = ImageData(
        name="rows",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=("low", "middle", "high"),
        hash="rows-1",
    )
    return split_data(whole, held_out_fraction=0.25, seed=0)
