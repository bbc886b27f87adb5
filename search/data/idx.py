"""IDX files, the format of the MNIST family.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.data.arrays import as_images, as_label_values, number_classes
from search.data.errors import DataError
from search.data.image_data import Labelled, RawParts

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_FILE_NAME = re.compile(r"(?:^|.*[-_.])(train|t10k|test)[-_.](images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
_UNSIGNED_BYTE = 0x08


def find_idx_files(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """The IDX files of a folder by part ("train", "test") and kind ("images", "labels")."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _FILE_NAME.fullmatch(path.name):
            part = "train" if match[1] == "train" else "test"
            found.setdefault((part, match[2]), []).append(path)
    return found


def read_fashion_mnist() -> RawParts:
    if not FASHION_MNIST_FOLDER.is_dir() or not find_idx_files(FASHION_MNIST_FOLDER):
        raise DataError(
            f"Fashion-MNIST is not in {FASHION_MNIST_FOLDER}. On Debian and Ubuntu: apt-get install "
            'dataset-fashion-mnist. Elsewhere, name the folder of its four IDX files, or use "digits", which '
            "needs nothing."
        )
    raw = read_idx_folder(FASHION_MNIST_FOLDER)
    return RawParts(name="fashion-mnist", class_names=FASHION_MNIST_CLASSES, train=raw.train, test=raw.test)


def read_idx_folder(folder: Path) -> RawParts:
    """Read ``train-images-idx3-ubyte`` and its like, with or without ``.gz``.

    Raises:
        DataError: a part without images or labels, several data sets in one folder, or a damaged file.
    """
    files = find_idx_files(folder)
    train = _read_part(folder, files, "train")
    test = _read_part(folder, files, "test") if ("test", "images") in files else None
    class_names, train, test = number_classes(train, test, str(folder))
    return RawParts(name=folder.resolve().name, class_names=class_names, train=train, test=test)


def _read_part(folder: Path, files: dict[tuple[str, str], list[Path]], part: str) -> Labelled:
    paths: dict[str, Path] = {}
    for kind in ("images", "labels"):
        candidates = files.get((part, kind), [])
        if not candidates:
            raise DataError(f"{folder} has no {part} {kind} IDX file, such as {part}-{kind}-idx1-ubyte.gz.")
        stems = sorted({path.name.removesuffix(".gz") for path in candidates})
        if len(stems) > 1:
            raise DataError(
                f"{folder} holds several data sets ({stems[0]}, {stems[1]}); put the four files of one of them "
                "into a folder of their own."
            )
        paths[kind] = candidates[0]
    images = as_images(read_idx(paths["images"]), str(paths["images"]))
    labels = as_label_values(read_idx(paths["labels"]), str(paths["labels"]), image_count=len(images))
    return images, labels


def read_idx(path: Path) -> Tensor:
    """One IDX file of unsigned bytes.

    Raises:
        DataError: the file is no IDX file, damaged, shorter than it says, or of another type.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); copy or download it again.") from error
    if len(content) < 4 or content[:2] != b"\0\0":  # noqa: PLR2004 - the magic number
        raise DataError(f"{path} is not an IDX file: it begins with {content[:4].hex()!r}.")
    if content[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path} holds values of IDX type {content[2]:#04x}; only unsigned bytes (0x08) are read.")
    axis_count = content[3]
    header_bytes = 4 + 4 * axis_count
    if len(content) < header_bytes:
        raise DataError(f"{path} ends inside its header; copy or download it again.")
    shape = struct.unpack(f">{axis_count}I", content[4:header_bytes])
    if len(content) != header_bytes + math.prod(shape):
        raise DataError(
            f"{path} says it holds {math.prod(shape)} bytes but has {len(content) - header_bytes}; "
            "copy or download it again."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape).copy())
