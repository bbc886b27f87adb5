"""Image folders: one subfolder per class, optionally under ``train`` and ``test`` (or Training, val, ...)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.data.decode_image import decode_image
from search.data.errors import DataError, name_a_few
from search.data.image_data import TEST_FRACTION, RawParts
from search.data.split import balanced_subset

_IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
_UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".tga", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
_TRAIN_FOLDERS = ("train", "training", "train_set", "training_set")
_TEST_FOLDERS = ("test", "testing", "test_set", "testing_set", "val", "valid", "validation", "validation_set")
_WHITE_12 = 2**12 - 1


@dataclass(frozen=True)
class _Files:
    paths: tuple[Path, ...]
    labels: Tensor


def read_image_folder(folder: Path, *, image_size: int | None, limit: int | None) -> RawParts:
    """Find and decode the images of a folder.

    Args:
        image_size: images are cut to a centred square and scaled to this side while they are decoded.
        limit: decode at most so many images of each part (before a missing test part is carved off).
    Raises:
        DataError: no class folders, an empty class, images of a format that is not read, broken images, or images of
            several sizes.
    """
    train_folder, test_folder, unused = _part_folders(folder)
    class_names = _class_folders(train_folder)
    train_files = _limited(
        _list_files(train_folder, class_names), _with_carved_test(limit, len(class_names), test_folder)
    )
    test_files = None
    if test_folder is not None:
        if unknown := sorted(set(_class_folders(test_folder)) - set(class_names)):
            raise DataError(f"{test_folder} has class {name_a_few(unknown)}, which {train_folder} has not.")
        test_files = _limited(_list_files(test_folder, class_names), limit)
    all_paths = train_files.paths + (test_files.paths if test_files else ())
    if not all_paths:
        raise DataError(f"{folder} holds class folders but no images ({_suffixes()}).")
    images = _decode_all(all_paths, image_size=image_size)
    train_count = len(train_files.paths)
    test = None if test_files is None else (images[train_count:], test_files.labels)
    return RawParts(
        name=folder.resolve().name,
        class_names=tuple(class_names),
        train=(images[:train_count], train_files.labels),
        test=test,
        unused=unused,
    )


def _part_folders(folder: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    """The folders of the training part and, where there is one, of the test part, and the names of those beside them;
    upper and lower case are alike."""
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    named: dict[str, list[Path]] = {}
    for path in subfolders:
        named.setdefault(path.name.lower().replace("-", "_").replace(" ", "_"), []).append(path)
    train, test = (
        [path for name in names for path in named.get(name, ())] for names in (_TRAIN_FOLDERS, _TEST_FOLDERS)
    )
    if len(train) > 1:
        raise DataError(f"{folder} holds several training parts: {name_a_few(train)}. Keep one of them there.")
    if train:
        used = (train[0], *test[:1])
        return train[0], test[0] if test else None, tuple(path.name for path in subfolders if path not in used)
    if subfolders and len(test) == len(subfolders):
        raise DataError(
            f"{folder} holds {name_a_few(test)}, which are no classes but parts of a split, and no training part. Name "
            f"that {folder.name}/train, or put the class folders themselves into {folder.name}."
        )
    return folder, None, ()


def _class_folders(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        has_images = any(path.suffix.lower() in _IMAGE_SUFFIXES for path in folder.iterdir())
        found = "images but no class folders" if has_images else "neither class folders nor images"
        raise DataError(
            f"{folder} holds {found}. Put the images of each class into a folder named after it: "
            f"{folder.name}/cat/1.jpg, {folder.name}/dog/1.jpg."
        )
    return names


def _list_files(folder: Path, class_names: Sequence[str]) -> _Files:
    paths: list[Path] = []
    labels: list[int] = []
    _refuse_unread(folder, class_names)
    for label, class_name in enumerate(class_names):
        found = sorted(_image_files(folder / class_name)) if (folder / class_name).is_dir() else []
        paths.extend(found)
        labels.extend([label] * len(found))
    return _Files(tuple(paths), torch.tensor(labels, dtype=torch.int64))


def _image_files(folder: Path) -> Iterator[Path]:
    yield from _files_of(folder, _IMAGE_SUFFIXES)


def _files_of(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """What is hidden, or lies in a hidden folder (thumbnails, originals of edited photos), is left out."""
    for path in folder.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not is_hidden:
            yield path


def _refuse_unread(folder: Path, class_names: Sequence[str]) -> None:
    """Photos that nobody reads would be missing in silence, often most of a class."""
    unread = [path for name in class_names for path in sorted(_files_of(folder / name, _UNREAD_SUFFIXES))]
    if unread:
        found = ", ".join(sorted({path.suffix.lower() for path in unread}))
        raise DataError(
            f"{len(unread)} images in {folder} are {found}, which is not read: {name_a_few(unread)}. Convert them to "
            f"one of {_suffixes()}, or move them away."
        )


def _with_carved_test(limit: int | None, class_count: int, test_folder: Path | None) -> int | None:
    """Without a test folder the training images must also give the test part."""
    if limit is None or test_folder is not None:
        return limit
    return max(round(limit / (1 - TEST_FRACTION)), 3 * class_count)


def _limited(files: _Files, limit: int | None) -> _Files:
    if limit is None or len(files.paths) <= limit:
        return files
    index = balanced_subset(files.labels, count=limit, generator=torch.Generator().manual_seed(0))
    return _Files(tuple(files.paths[i] for i in index.tolist()), files.labels[index])


def _decode_all(paths: Sequence[Path], *, image_size: int | None) -> Tensor:
    if image_size is not None:
        _check_memory(len(paths), image_size)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        decoded = list(pool.map(lambda path: decode_image(path, image_size), paths))
    broken = [(path, result) for path, result in zip(paths, decoded, strict=True) if isinstance(result, str)]
    if broken:
        named = name_a_few([f"{path} ({reason})" for path, reason in broken])
        raise DataError(f"{len(broken)} of {len(paths)} images cannot be read: {named}. Replace or remove them.")
    images = [result for result in decoded if not isinstance(result, str)]
    _refuse_near_black(paths, [image.deep_white for image in images])
    arrays = [image.pixels for image in images]
    sizes = {(array.shape[2], array.shape[1]) for array in arrays}
    if len(sizes) > 1:
        shown = name_a_few([f"{width}x{height}" for width, height in sorted(sizes)])
        raise DataError(
            f"The images have {len(sizes)} different sizes ({shown}). Give the side that all are scaled to, "
            "such as --image-size 32 (image_size=32 in Python)."
        )
    channels = max(array.shape[0] for array in arrays)  # one colour image makes all of them colour
    full = [np.broadcast_to(array, (channels, *array.shape[1:])) for array in arrays]
    return torch.from_numpy(np.stack(full))


def _refuse_near_black(paths: Sequence[Path], deep_whites: Sequence[int | None]) -> None:
    """Twelve bits kept in sixteen would all be darker than a sixteenth of white, and nobody would see why."""
    deep = {path: white for path, white in zip(paths, deep_whites, strict=True) if white is not None}
    if deep and 0 < max(deep.values()) <= _WHITE_12:
        raise DataError(
            f"None of the {len(deep)} images of 16 bits has a value above {max(deep.values())}: they hold fewer bits "
            f"than that and would be nearly black. Spread their values over 16 bits, or save them with 8: "
            f"{name_a_few(list(deep))}."
        )


def _check_memory(image_count: int, image_size: int) -> None:
    needed = image_count * 3 * image_size * image_size * 2  # decoded one by one, then stacked
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise DataError(
            f"{image_count} images of {image_size}x{image_size} pixels need {needed / 2**30:.0f} GiB in memory; this "
            f"machine has {available / 2**30:.0f} GiB. Use a smaller --image-size or a --limit."
        )


def _suffixes() -> str:
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in _IMAGE_SUFFIXES))
