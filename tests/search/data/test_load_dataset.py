"""load_dataset: what it reads, and what it says when it cannot."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from search.data import DataError, load_dataset
from search.data.idx import FASHION_MNIST_FOLDER
from tests.search.data.image_files import check_invariants


def write_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_idx_folder(folder: Path, *, suffix: str = "", label_offset: int = 0) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 6)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
        labels = (np.arange(count) % 3 + label_offset).astype(np.uint8)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)


def test_digits_need_nothing_and_get_a_balanced_test_part():
    data = load_dataset("digits")

    check_invariants(data)
    assert data.image_shape == (1, 8, 8)
    assert len(data.train_labels) + len(data.test_labels) == 1797
    test_counts = torch.bincount(data.test_labels)
    assert test_counts.max() - test_counts.min() <= 2
    assert data.train_images.max() == 255


def test_image_size_scales_every_source():
    data = load_dataset("digits", image_size=28, limit=100)

    check_invariants(data)
    assert data.image_shape == (1, 28, 28)


def test_limit_keeps_the_classes_even():
    data = load_dataset("digits", limit=50)

    assert torch.bincount(data.train_labels).tolist() == [5] * 10
    assert torch.bincount(data.test_labels).tolist() == [5] * 10


def test_the_hash_names_the_content_and_nothing_else():
    again = load_dataset("digits", limit=100)
    assert load_dataset("digits", limit=100).hash == again.hash
    assert load_dataset("digits", limit=120).hash != again.hash
    assert load_dataset("digits", limit=100, image_size=9).hash != again.hash


@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="package dataset-fashion-mnist is not installed")
def test_fashion_mnist_comes_from_the_debian_package():
    data = load_dataset("fashion-mnist")

    check_invariants(data)
    assert data.image_shape == (1, 28, 28)
    assert (len(data.train_labels), len(data.test_labels)) == (60_000, 10_000)
    assert data.class_names[int(data.train_labels[0])] == "ankle boot"


def test_a_missing_fashion_mnist_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("search.data.idx.FASHION_MNIST_FOLDER", tmp_path / "nowhere")

    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        load_dataset("fashion-mnist")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folders_are_read_packed_or_not(tmp_path, suffix):
    write_idx_folder(tmp_path, suffix=suffix)

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert data.image_shape == (1, 5, 4)
    assert data.class_names == ("0", "1", "2")


def test_idx_labels_that_start_at_one_are_renumbered(tmp_path):
    write_idx_folder(tmp_path, label_offset=1)

    data = load_dataset(tmp_path)

    assert data.class_names == ("1", "2", "3")
    assert data.train_labels[:3].tolist() == [0, 1, 2]


def test_a_truncated_idx_file_is_named(tmp_path):
    write_idx_folder(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(DataError, match="train-images-idx3-ubyte says it holds 240 bytes but has 233"):
        load_dataset(tmp_path)


def test_a_damaged_gzip_file_is_named(tmp_path):
    write_idx_folder(tmp_path, suffix=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load_dataset(tmp_path)


def test_idx_images_without_labels_are_refused(tmp_path):
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()

    with pytest.raises(DataError, match="no train labels IDX file"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("shape", [(3, 6, 5), (6, 5, 3), (6, 5)])
def test_npz_images_may_have_channels_first_last_or_none(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (10, *shape), dtype=np.uint8)
    labels = (np.arange(10) % 2)[:, None]
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)

    data = load_dataset(tmp_path / "mine.npz")

    check_invariants(data)
    assert data.image_shape == (1 if len(shape) == 2 else 3, 6, 5)
    assert data.name == "mine"


def test_npz_may_name_its_classes_and_lack_a_test_part(tmp_path):
    np.savez(
        tmp_path / "mine.npz",
        x_train=np.zeros((10, 4, 4), np.uint8),
        y_train=np.arange(10) % 2,
        class_names=np.array(["no", "yes"]),
    )

    data = load_dataset(tmp_path / "mine.npz")

    assert data.class_names == ("no", "yes")
    assert len(data.test_labels) == 2


def test_npz_without_labels_says_what_it_has(tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((4, 4, 4), np.uint8), labels=np.zeros(4))

    with pytest.raises(DataError, match="no array 'y_train'; it has labels, x_train"):
        load_dataset(tmp_path / "mine.npz")


def test_npz_labels_that_are_words_are_refused_with_the_call_that_counts_them(tmp_path):
    labels = np.array(["cat", "dog"])[np.arange(12) % 2]
    np.savez(tmp_path / "words.npz", x_train=np.zeros((12, 4, 4), np.uint8), y_train=labels)

    with pytest.raises(DataError, match=r"words\.npz: y_train is no array of numbers .* numpy\.unique"):
        load_dataset(tmp_path / "words.npz")


def test_normalised_floats_are_refused_with_the_mend(tmp_path):
    images = np.random.default_rng(0).normal(size=(8, 4, 4))
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=np.arange(8) % 2)

    with pytest.raises(DataError, match="leave out normalisation"):
        load_dataset(tmp_path / "mine.npz")


def test_a_test_label_unknown_in_training_is_refused(tmp_path):
    images, labels = np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels + 1)

    with pytest.raises(DataError, match="label 2 occurs in the test part but not in training"):
        load_dataset(tmp_path / "mine.npz")


def test_a_limit_too_small_for_the_classes_is_refused():
    with pytest.raises(DataError, match="too small for 10 classes; use 20 or more"):
        load_dataset("digits", limit=12)


def test_an_unknown_source_lists_what_there_is():
    with pytest.raises(DataError, match=r"'fashon-mnist' does not exist\. Use digits, fashion-mnist"):
        load_dataset("fashon-mnist")


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "images.tar.gz").write_bytes(b"")

    with pytest.raises(DataError, match="is an archive; unpack it"):
        load_dataset(tmp_path / "images.tar.gz")


def test_training_and_test_images_of_different_shapes_are_refused(tmp_path):
    np.savez(
        tmp_path / "mine.npz",
        x_train=np.zeros((8, 4, 4), np.uint8),
        y_train=np.arange(8) % 2,
        x_test=np.zeros((4, 5, 5), np.uint8),
        y_test=np.arange(4) % 2,
    )

    with pytest.raises(DataError, match=r"4x4 with 1 channels, test images 5x5.*--image-size"):
        load_dataset(tmp_path / "mine.npz")
