"""Class-balanced splits and subsets of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from search.data.errors import DataError


def split_held_out(labels: Tensor, *, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Carve a held-out part from the training part, with the same share of every class.

    Args:
        labels: (images,), int64, of the training part only; the test part is never looked at.
        fraction: share of each class that is held out, between 0 and 1; at least one image of each class.
        generator: decides which ones.
    Returns:
        (train_index, held_out_index), sorted, disjoint, together all images.
    Raises:
        DataError: the fraction is out of range, there are no images, or a class cannot give one to each part.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(f"The held-out fraction is {fraction}; it must lie between 0 and 1, for example 0.2.")
    if labels.numel() == 0:
        raise DataError("There are no images to split; give a data set with at least two images per class.")
    held_out: list[Tensor] = []
    for label in torch.unique(labels).tolist():
        members = (labels == label).nonzero().flatten()
        count = len(members)
        if count < 2:  # noqa: PLR2004 - one for each part
            raise DataError(
                f"Class {label} has one image; training and held-out part need one each. "
                "Add images to this class or remove it."
            )
        held_out_count = min(max(round(count * fraction), 1), count - 1)
        held_out.append(members[torch.randperm(count, generator=generator)[:held_out_count]])
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[torch.cat(held_out)] = True
    return (~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()


def balanced_subset(labels: Tensor, *, count: int, generator: torch.Generator) -> Tensor:
    """At most ``count`` images, as even over the classes as they allow; sorted indices.

    Raises:
        DataError: ``count`` leaves a class with fewer than the two images that a split needs.
    """
    if count >= len(labels):
        return torch.arange(len(labels))
    class_labels = torch.unique(labels).tolist()
    if count < 2 * len(class_labels):
        raise DataError(
            f"A limit of {count} images is too small for {len(class_labels)} classes; "
            f"use {2 * len(class_labels)} or more, two of each class."
        )
    members = [(labels == label).nonzero().flatten() for label in class_labels]
    shuffled = [index[torch.randperm(len(index), generator=generator)] for index in members]
    # Dealing the classes out in turn: all first images, all second images, ...
    turn = torch.cat([torch.arange(len(index)) for index in shuffled])
    dealt = torch.cat(shuffled)[torch.argsort(turn, stable=True)]
    return dealt[:count].sort().values
