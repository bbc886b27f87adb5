"""Normalisation and augmentation as tensor operations on whole batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search.data.errors import DataError
from search.data.image_data import ImageData

_CHUNK = 4096
_SMALLEST_STD = 1 / 255  # a constant channel must not be divided by zero


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training image. ``padding``: pixels by which the crop may move each way."""

    padding: int = 2
    has_flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"padding is {self.padding}; it must be 0 or more.")


def augmentation_for(data: ImageData) -> Augmentation:
    """An eighth of the side to move by, as is usual for CIFAR (4 of 32).

    No mirror images of written characters: grey images whose classes are numbers, as in all of the MNIST family.
    Colour images with numbered classes are mirrored.
    """
    channels, height, width = data.image_shape
    is_written = channels == 1 and all(name.isdigit() for name in data.class_names)
    side = min(height, width)
    return Augmentation(padding=side // 8, has_flip=not is_written)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel on the scale 0..1, over all pixels.

    Args:
        images: (images, channels, height, width), uint8; pass the training part only.
    Returns:
        (mean, std), each (channels,), float32.
    """
    if len(images) == 0:
        raise DataError("There are no images to take mean and deviation of.")
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for chunk in torch.split(images, _CHUNK):
        values = chunk.to(torch.float64).div_(255)
        total += values.sum(dim=(0, 2, 3))
        squares += values.square_().sum(dim=(0, 2, 3))
    pixel_count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = total / pixel_count
    std = (squares / pixel_count - mean.square()).clamp_min(0).sqrt().clamp_min(_SMALLEST_STD)
    return mean.float(), std.float()


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(pixel / 255 - mean) / std per channel, as float32.

    Args:
        images: (images, channels, height, width), uint8.
        mean: (channels,), on the scale 0..1.
        std: (channels,), on the scale 0..1.
    """
    scale = (1 / (255 * std)).view(1, -1, 1, 1)
    shift = (mean / std).view(1, -1, 1, 1)
    return images.float().mul_(scale).sub_(shift)


def augment(images: Tensor, generator: torch.Generator, options: Augmentation | None = None) -> Tensor:
    """Move each image by up to ``padding`` pixels each way and mirror half of them.

    Args:
        images: (images, channels, height, width), float, already normalised: what moves in is 0, the mean.
        generator: draws one shift and one flip per image; the same state gives the same batch.
    Returns:
        A new tensor of the same shape.
    """
    options = options or Augmentation()
    count, channels, height, width = images.shape
    reach = 2 * options.padding + 1
    row_shift = torch.randint(reach, (count, 1), generator=generator)
    column_shift = torch.randint(reach, (count, 1), generator=generator)
    rows = torch.arange(height) + row_shift
    columns = torch.arange(width).expand(count, width)
    if options.has_flip:
        is_flipped = torch.rand((count, 1), generator=generator) < 0.5  # noqa: PLR2004 - every other image
        columns = torch.where(is_flipped, columns.flip(1), columns)
    columns = columns + column_shift
    padded = functional.pad(images, (options.padding,) * 4)
    # One gather over flattened pixels: four times faster than indexing rows and columns.
    source = (rows.unsqueeze(2) * padded.shape[3] + columns.unsqueeze(1)).view(count, 1, -1)
    return padded.flatten(2).gather(2, source.expand(-1, channels, -1)).view_as(images)
