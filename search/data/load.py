"""load_dataset: from a name, a path or a function to checked images in memory."""

from __future__ import annotations

import importlib
import random
import re
import sys
import traceback
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from search.data.arrays import as_images, as_label_values, number_classes
from search.data.errors import DataError
from search.data.idx import find_idx_files, read_fashion_mnist, read_idx_folder
from search.data.image_data import ImageData, Labelled, RawParts, build_image_data
from search.data.image_folder import read_image_folder

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SEED = 0
_UNREADABLE = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for other and for damaged files; TypeError for a single array under this name."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")


def load_dataset(source: str | Path, *, image_size: int | None = None, limit: int | None = None) -> ImageData:
    """Read a labelled data set.

    Args:
        source: ``digits``; ``fashion-mnist``; a folder of IDX files; an ``.npz`` with x_train, y_train and
            perhaps x_test, y_test, class_names; a folder with one subfolder of images per class, perhaps
            under ``train`` and ``test``; or ``package.module:function``, which returns a DataLoader, or
            (train, test), each a DataLoader or (images, labels). It is called under fixed seeds.
        image_size: side of the square images to make; None keeps the size they have.
        limit: at most so many images in the training part and in the test part, even over the classes.
    Raises:
        DataError: anything that keeps the data from being used, with the mend.
    """
    if image_size is not None and image_size < 1:
        raise DataError(f"image_size is {image_size}; it must be 1 or more.")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be 1 or more.")
    raw = _read(source, image_size=image_size, limit=limit)
    return build_image_data(raw, image_size=image_size, limit=limit)


def _read(source: str | Path, *, image_size: int | None, limit: int | None) -> RawParts:
    if source == "digits":
        return _read_digits()
    if source == "fashion-mnist":
        return read_fashion_mnist()
    path = Path(source).expanduser()
    if isinstance(source, str) and _FUNCTION.fullmatch(source) and not path.exists():
        return _read_function(source)
    if path.is_dir():
        is_idx = bool(find_idx_files(path))
        return read_idx_folder(path) if is_idx else read_image_folder(path, image_size=image_size, limit=limit)
    if path.is_file() and path.suffix == ".npz":
        return _read_npz(path)
    if path.is_file() and path.name.endswith(_ARCHIVES):
        raise DataError(f"{path} is an archive; unpack it and name the folder.")
    found = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise DataError(
        f"Data source {str(source)!r} {found}. Use digits, fashion-mnist, a folder of IDX files or of class folders, "
        "an .npz file, or package.module:function."
    )


def _read_digits() -> RawParts:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only this source needs scikit-learn

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8))
    names = tuple(str(digit) for digit in range(10))
    return RawParts(name="digits", class_names=names, train=(images, torch.from_numpy(labels).long()), test=None)


def _read_npz(path: Path) -> RawParts:
    try:
        # Opened here: of a damaged archive numpy leaves the file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read as .npz ({error}); save plain arrays with numpy.savez.") from error
    if missing := [key for key in ("x_train", "y_train") if key not in arrays]:
        raise DataError(f"{path} has no array {missing[0]!r}; it has {', '.join(sorted(arrays)) or 'none'}.")
    train = _labelled(arrays["x_train"], arrays["y_train"], f"{path}: x_train", f"{path}: y_train")
    test = None
    if "x_test" in arrays:
        if "y_test" not in arrays:
            raise DataError(f"{path} has x_test but no y_test; add the labels or leave both out.")
        test = _labelled(arrays["x_test"], arrays["y_test"], f"{path}: x_test", f"{path}: y_test")
    given = [str(name) for name in np.atleast_1d(arrays["class_names"])] if "class_names" in arrays else None
    class_names, train, test = number_classes(train, test, str(path), given)
    return RawParts(name=path.stem, class_names=class_names, train=train, test=test)


def _read_function(source: str) -> RawParts:
    module_name, function_name = source.split(":")
    with _current_folder_importable(), _same_draws():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise DataError(
                f"Cannot import {module_name!r} for the data source {source!r} ({error}). Start from the folder that "
                "holds it, or install it."
            ) from error
        except Exception as error:
            raise _failed(error, f"Importing {module_name!r} for the data source {source!r}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise DataError(f"{module_name} has no function {function_name!r}; the source is package.module:function.")
    try:
        with _same_draws():
            return _returned_parts(source, function())
    except DataError:
        raise
    except Exception as error:
        raise _failed(error, f"The data source {source!r}") from error


def _failed(error: Exception, what: str) -> DataError:
    """The user's own code may raise anything: what it was, and where."""
    where = "".join(
        f" ({frame.filename}, line {frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)[-1:]
    )
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})"
    return DataError(f"{what} failed with {type(error).__name__}: {error}{where}. Mend it there.")


def _returned_parts(source: str, result: Any) -> RawParts:
    if isinstance(result, DataLoader):
        result = (result, None)
    if not isinstance(result, tuple | list) or len(result) != 2:  # noqa: PLR2004 - train and test
        raise DataError(f"{source} returned {type(result).__name__}; it must return a DataLoader or (train, test).")
    train = _gather(result[0], f"{source}: train")
    test = None if result[1] is None else _gather(result[1], f"{source}: test")
    class_names, train, test = number_classes(train, test, source)
    return RawParts(name=source, class_names=class_names, train=train, test=test)


def _gather(part: Any, where: str) -> Labelled:
    """One part of a user's function: (images, labels), or an iterable of such batches."""
    if isinstance(part, tuple | list) and len(part) == 2 and hasattr(part[0], "shape"):  # noqa: PLR2004
        return _labelled(part[0], part[1], f"{where} images", f"{where} labels")
    if not isinstance(part, Iterable):
        raise DataError(f"{where} is a {type(part).__name__}; return a DataLoader or (images, labels).")
    batches = []
    for batch in part:
        if not isinstance(batch, tuple | list) or len(batch) != 2:  # noqa: PLR2004 - images and labels
            raise DataError(f"{where} gives batches that are not (images, labels).")
        batches.append(_labelled(batch[0], batch[1], f"{where} images", f"{where} labels"))
    if not batches:
        raise DataError(f"{where} gave no batches; check the function that makes it.")
    if len({images.shape[1:] for images, _ in batches}) > 1:
        raise DataError(f"{where} gives images of several shapes; scale them to one size in the function.")
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def _labelled(images: Any, labels: Any, images_name: str, labels_name: str) -> Labelled:
    checked = as_images(images, images_name)
    return checked, as_label_values(labels, labels_name, image_count=len(checked))


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """A console script does not search the current folder, where users keep such functions."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _same_draws() -> Iterator[None]:
    """What a user's function shuffles or changes at random comes out alike each time: every verb of a run, and every
    worker of a search, reads the images anew and must see the same ones in the same order."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's draws
    with torch.random.fork_rng(devices=[]):
        random.seed(_SEED)
        np.random.seed(_SEED)  # noqa: NPY002
        torch.manual_seed(_SEED)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
