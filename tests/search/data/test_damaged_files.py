"""Files that are damaged, or are something else than their name says: told by name, with the mend."""

import io
import zipfile

import numpy as np
import pytest

from search.data import DataError, load_dataset


def packed(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="module")
def whole() -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    return packed(x_train=images, y_train=np.arange(40) % 2)


def refused(tmp_path, content: bytes) -> str:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz") as caught:
        load_dataset(path)
    return str(caught.value)


def test_an_empty_npz_file_is_refused(tmp_path):
    assert "numpy.savez" in refused(tmp_path, b"")


def test_a_single_array_under_the_name_of_an_archive_is_refused(tmp_path):
    file = io.BytesIO()
    np.save(file, np.zeros((4, 8, 8), np.uint8))
    assert "numpy.savez" in refused(tmp_path, file.getvalue())


def test_a_zip_file_of_something_else_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train", "no array")
        archive.writestr("y_train", "no array")
    assert "no array" in refused(tmp_path, file.getvalue())


@pytest.mark.parametrize("seed", range(40))
def test_an_npz_file_with_a_damaged_stretch_is_refused_or_whole_enough(tmp_path, whole, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(whole)
    start = int(rng.integers(0, len(content) - 30))
    content[start : start + 30] = rng.bytes(30)
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    try:
        load_dataset(path)
    except DataError as error:
        assert "mine.npz" in str(error)


def test_one_class_name_for_two_classes_is_refused(tmp_path):
    images, labels = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 2
    assert "1 class names for 2 classes" in refused(tmp_path, packed(x_train=images, y_train=labels, class_names="cat"))
