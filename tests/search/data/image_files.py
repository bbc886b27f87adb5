"""Image files in folders, and what must hold of whatever was loaded."""

from pathlib import Path

import torch
from PIL import Image

from search.data import ImageData


def write_image(path: Path, *, size: tuple[int, int] = (8, 6), colour: int | tuple[int, ...] = (200, 0, 0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def write_class_folders(folder: Path, *, image_count: int, size: tuple[int, int] = (8, 6)) -> None:
    for shade, class_name in enumerate(("cat", "dog")):
        for i in range(image_count):
            write_image(folder / class_name / f"{i}.png", size=size, colour=(100 * shade, i, 0))


def check_invariants(data: ImageData) -> None:
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert images.dtype == torch.uint8 and images.is_contiguous()
        assert tuple(images.shape) == (len(labels), *data.image_shape)
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) == set(range(data.class_count))
