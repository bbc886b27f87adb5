"""ImageData: a labelled data set in memory, checked once and never changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from search.data.errors import DataError, name_a_few
from search.data.split import balanced_subset, split_held_out

Labelled = tuple[Tensor, Tensor]
TEST_FRACTION = 0.2
_SPLIT_SEED = 0
_CHUNK = 1024
_SHOWN_CLASSES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """Images (images, channels, height, width) as uint8 and labels as int64, counted from 0.

    ``hash`` names the content: pixels, labels, classes and the split. A run that is resumed on other data is
    told by it. ``unused`` names parts of the source that are in neither part, such as a ``val`` beside a ``test``.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    hash: str
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        channels, height, width = self.image_shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
        classes = name_a_few(self.class_names, shown=_SHOWN_CLASSES)
        return (
            f"{self.name}: {len(self.train_labels)} training and {len(self.test_labels)} test images, {kind}, "
            f"{width}x{height}; {self.class_count} classes: {classes}{self._without}"
        )

    @property
    def _without(self) -> str:
        verb = "is" if len(self.unused) == 1 else "are"
        return f"; {name_a_few(self.unused)} {verb} not used" if self.unused else ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        _, channels, height, width = self.train_images.shape
        return (channels, height, width)

    @property
    def class_count(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, kw_only=True)
class RawParts:
    """What a reader found, before it is checked. ``test`` is None when the source has no test part."""

    name: str
    class_names: tuple[str, ...]
    train: Labelled
    test: Labelled | None
    unused: tuple[str, ...] = ()


def build_image_data(raw: RawParts, *, image_size: int | None, limit: int | None) -> ImageData:
    """Check, split, limit and resize what a reader found.

    Args:
        image_size: side of the square images to make; None keeps what is there.
        limit: at most so many images in each part, even over the classes.
    Raises:
        DataError: an empty part, too few images in a class, parts of different shapes.
    """
    _check_classes(raw)
    train, test = raw.train, raw.test
    if test is None:
        generator = torch.Generator().manual_seed(_SPLIT_SEED)
        train_index, test_index = split_held_out(train[1], fraction=TEST_FRACTION, generator=generator)
        train, test = _take(train, train_index), _take(train, test_index)
    train, test = _limited(train, limit), _limited(test, limit)
    _check_parts(raw, train, test)
    train_images, test_images = (_resized(images, image_size) for images in (train[0], test[0]))
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{raw.name}: training images are {_describe(train_images)}, test images {_describe(test_images)}. "
            "Save both as grey or both as colour, and give --image-size if the sizes differ."
        )
    return ImageData(
        name=raw.name,
        train_images=train_images,
        train_labels=train[1],
        test_images=test_images,
        test_labels=test[1],
        class_names=raw.class_names,
        hash=_content_hash(raw.class_names, train_images, train[1], test_images, test[1]),
        unused=raw.unused,
    )


def _check_classes(raw: RawParts) -> None:
    labels = raw.train[1]
    if len(labels) == 0:
        raise DataError(f"{raw.name} has no training images; add some, at least three per class.")
    if len(raw.class_names) < 2:  # noqa: PLR2004 - with one class there is nothing to tell apart
        raise DataError(f"{raw.name} has the one class {raw.class_names[0]!r}; a search needs two or more.")
    counts = torch.bincount(labels, minlength=len(raw.class_names)).tolist()
    needed = 3 if raw.test is None else 2
    if poor := [f"{name!r} ({n})" for name, n in zip(raw.class_names, counts, strict=True) if n < needed]:
        why = "train, held-out and test part need one each" if raw.test is None else "one trains, one is held out"
        raise DataError(
            f"{raw.name}: fewer than {needed} training images in class {name_a_few(poor)}; {why}. "
            "Add images or remove the class."
        )


def _check_parts(raw: RawParts, train: Labelled, test: Labelled) -> None:
    for part, (_, labels) in (("training", train), ("test", test)):
        if len(labels) == 0:
            raise DataError(
                f"{raw.name}: the {part} part has no images. Add some, or remove the empty part: "
                "without a test part one is carved from the training images."
            )


def _describe(images: Tensor) -> str:
    _, channels, height, width = images.shape
    return f"{width}x{height} with {channels} channels"


def _take(part: Labelled, index: Tensor) -> Labelled:
    return part[0][index], part[1][index]


def _limited(part: Labelled, limit: int | None) -> Labelled:
    if limit is None or len(part[1]) <= limit:
        return part
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    return _take(part, balanced_subset(part[1], count=limit, generator=generator))


def _resized(images: Tensor, image_size: int | None) -> Tensor:
    if image_size is None or tuple(images.shape[2:]) == (image_size, image_size):
        return images.contiguous()
    square = _centre_square(images)
    chunks = [
        torch.nn.functional.interpolate(
            chunk.float(), size=(image_size, image_size), mode="bilinear", antialias=True, align_corners=False
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in torch.split(square, _CHUNK)
    ]
    return torch.cat(chunks)


def _centre_square(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]


def _content_hash(class_names: tuple[str, ...], *tensors: Tensor) -> str:
    digest = hashlib.sha256(repr(class_names).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
