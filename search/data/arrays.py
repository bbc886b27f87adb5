"""Arrays and tensors of other people's making, turned into uint8 images and counted labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from search.data.errors import DataError, name_a_few
from search.data.image_data import Labelled

_CHANNEL_COUNTS = (1, 3)
_CONVERT_IMAGES = "convert the images first, as torchvision.transforms.functional.pil_to_tensor does"
_COUNT_THE_CLASSES = (
    "labels are one whole number per image: class_names, y_train = numpy.unique(words, return_inverse=True) makes them"
)


def as_images(values: Any, where: str) -> Tensor:
    """(images, channels, height, width) as uint8.

    Args:
        values: array or tensor (images, height, width), (images, channels, height, width) or
            (images, height, width, channels), with 1 or 3 channels; uint8, or floats from 0 to 1.
    Raises:
        DataError: another shape, type or range.
    """
    images = _as_tensor(values, where, _CONVERT_IMAGES)
    if images.ndim == 3:  # noqa: PLR2004 - grey images without a channel axis
        images = images.unsqueeze(1)
    if images.ndim != 4:  # noqa: PLR2004
        raise DataError(
            f"{where} has shape {tuple(images.shape)}; images are (images, height, width) or have a channel axis too."
        )
    if images.shape[1] not in _CHANNEL_COUNTS:
        if images.shape[3] not in _CHANNEL_COUNTS:
            raise DataError(f"{where} has shape {tuple(images.shape)}; neither axis 1 nor axis 3 is 1 or 3 channels.")
        images = images.permute(0, 3, 1, 2)
    return _as_uint8(images, where).contiguous()


def _as_tensor(values: Any, where: str, mend: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} is no array of numbers ({error}); {mend}.") from error


def _as_uint8(images: Tensor, where: str) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise DataError(f"{where} holds {images.dtype}; save pixels as uint8 (0..255).")
    if images.numel() and not (float(images.min()) >= 0.0 and float(images.max()) <= 1.0):
        raise DataError(
            f"{where} holds floats from {float(images.min()):.3g} to {float(images.max()):.3g}; give uint8 or floats "
            "from 0 to 1, and leave out normalisation: it is done here, from the training part."
        )
    return (images * 255).round().to(torch.uint8)


def as_label_values(values: Any, where: str, *, image_count: int) -> Tensor:
    """(images,) as int64.

    Raises:
        DataError: not one whole number per image.
    """
    labels = _as_tensor(values, where, _COUNT_THE_CLASSES)
    if labels.ndim == 2 and labels.shape[1] == 1:  # noqa: PLR2004 - a column of labels is common in .npz files
        labels = labels.flatten()
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"{where} has shape {tuple(labels.shape)} and type {labels.dtype}; labels are one whole number per image "
            "(take the argmax of one-hot rows)."
        )
    if len(labels) != image_count:
        raise DataError(f"{where} has {len(labels)} labels for {image_count} images; it must have one per image.")
    return labels.to(torch.int64)


def number_classes(
    train: Labelled, test: Labelled | None, where: str, class_names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Labelled, Labelled | None]:
    """Count the classes from 0 in the order of their label values.

    Args:
        class_names: one per label value that occurs in training, in ascending order; by default the values.
    Raises:
        DataError: a label occurs in the test part only, or the names do not fit.
    """
    values = torch.unique(train[1])
    if test is not None:
        known = set(values.tolist())
        if unknown := [value for value in torch.unique(test[1]).tolist() if value not in known]:
            raise DataError(f"{where}: label {name_a_few(unknown)} occurs in the test part but not in training.")
    names = tuple(class_names) if class_names is not None else tuple(str(value) for value in values.tolist())
    if len(names) != len(values):
        raise DataError(f"{where}: {len(names)} class names for {len(values)} classes in the training labels.")
    renumbered_test = None if test is None else (test[0], torch.searchsorted(values, test[1]))
    return names, (train[0], torch.searchsorted(values, train[1])), renumbered_test
