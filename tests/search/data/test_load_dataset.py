"""load_dataset: what it reads, and what it says when it cannot."""

import gzip
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from profiler_agent.errors import ProxylessError
from search.data import DataError, ImageData, load_dataset
from search.data.idx import FASHION_MNIST_FOLDER

CIFAR_ARCHIVE = Path(__file__).parents[4] / "shared" / "data" / "cifar10" / "cifar10_images.tar.gz"
CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def write_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_idx_folder(folder: Path, *, suffix: str = "", label_offset: int = 0) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 6)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
        labels = (np.arange(count) % 3 + label_offset).astype(np.uint8)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)


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


def test_an_image_folder_without_a_test_part_gets_one(tmp_path):
    write_class_folders(tmp_path, image_count=10)

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (3, 6, 8)
    assert torch.bincount(data.test_labels).tolist() == [2, 2]
    assert torch.equal(data.test_images, load_dataset(tmp_path).test_images)


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_an_image_folder_may_bring_train_and_test(tmp_path, test_name):
    write_class_folders(tmp_path / "train", image_count=4)
    write_class_folders(tmp_path / test_name, image_count=3)

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert (len(data.train_labels), len(data.test_labels)) == (8, 6)


def test_pixels_labels_and_order_survive_the_decoding_threads(tmp_path):
    write_class_folders(tmp_path / "train", image_count=20)
    write_class_folders(tmp_path / "test", image_count=2)

    data = load_dataset(tmp_path)

    assert data.train_images[:, 0, 0, 0].tolist() == [100 * label for label in data.train_labels.tolist()]
    names = sorted(f"{i}.png" for i in range(20))
    assert data.train_images[:20, 1, 0, 0].tolist() == [int(name.removesuffix(".png")) for name in names]


def test_one_colour_image_makes_all_of_them_colour(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    write_image(tmp_path / "cat" / "grey.png", colour=70)

    assert load_dataset(tmp_path).image_shape[0] == 3


def test_grey_images_keep_one_channel(tmp_path):
    for class_name in ("cat", "dog"):
        for i in range(5):
            write_image(tmp_path / class_name / f"{i}.png", colour=10 * i)

    assert load_dataset(tmp_path).image_shape == (1, 6, 8)


def test_sixteen_bit_grey_images_keep_their_brightness(tmp_path):
    for class_name in ("cat", "dog"):
        (tmp_path / class_name).mkdir()
        for i in range(3):
            Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(tmp_path / class_name / f"{i}.png")

    assert load_dataset(tmp_path).train_images.unique().tolist() == [40_000 >> 8]


def test_mixed_sizes_are_refused_with_the_mend(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    write_image(tmp_path / "cat" / "large.png", size=(30, 20))

    with pytest.raises(DataError, match=r"2 different sizes \(8x6, 30x20\).*--image-size 32"):
        load_dataset(tmp_path)


def test_mixed_sizes_are_scaled_when_a_size_is_given(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    write_image(tmp_path / "cat" / "large.jpg", size=(300, 200))

    assert load_dataset(tmp_path, image_size=16).image_shape == (3, 16, 16)


def test_broken_images_are_counted_and_named(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    (tmp_path / "cat" / "bad.jpg").write_bytes(b"not an image")
    whole = (tmp_path / "dog" / "0.png").read_bytes()
    (tmp_path / "dog" / "cut.png").write_bytes(whole[: len(whole) - 30])

    with pytest.raises(DataError, match=r"2 of 10 images cannot be read: .*bad\.jpg.*cut\.png") as caught:
        load_dataset(tmp_path)
    assert isinstance(caught.value, ProxylessError) and isinstance(caught.value, ValueError)


def test_photos_of_a_format_that_is_not_read_are_counted_and_not_left_out(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    for i in range(5):
        (tmp_path / "cat" / f"{i}.HEIC").write_bytes(b"")

    with pytest.raises(DataError, match=r"5 images in .* are \.heic, .*0\.HEIC.* and 2 more\. Convert them"):
        load_dataset(tmp_path)


def test_an_empty_folder_shows_the_layout_it_wants(tmp_path):
    with pytest.raises(DataError, match=r"neither class folders nor images.*/cat/1\.jpg"):
        load_dataset(tmp_path)


def test_images_without_class_folders_show_the_layout_they_want(tmp_path):
    write_image(tmp_path / "1.png")

    with pytest.raises(DataError, match="images but no class folders"):
        load_dataset(tmp_path)


def test_class_folders_without_images_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()

    with pytest.raises(DataError, match="class folders but no images"):
        load_dataset(tmp_path)


def test_a_class_of_one_image_is_named(tmp_path):
    write_class_folders(tmp_path, image_count=4)
    write_image(tmp_path / "emu" / "only.png")

    with pytest.raises(DataError, match=r"fewer than 3 training images in class 'emu' \(1\)"):
        load_dataset(tmp_path)


def test_an_empty_test_part_is_refused(tmp_path):
    write_class_folders(tmp_path / "train", image_count=4)
    (tmp_path / "test" / "cat").mkdir(parents=True)

    with pytest.raises(DataError, match="the test part has no images"):
        load_dataset(tmp_path)


def test_a_test_class_unknown_in_training_is_named(tmp_path):
    write_class_folders(tmp_path / "train", image_count=4)
    write_image(tmp_path / "test" / "emu" / "1.png")

    with pytest.raises(DataError, match="has class emu, which"):
        load_dataset(tmp_path)


def test_a_single_class_is_refused(tmp_path):
    for i in range(5):
        write_image(tmp_path / "cat" / f"{i}.png")

    with pytest.raises(DataError, match="one class 'cat'"):
        load_dataset(tmp_path)


def test_an_image_folder_limit_is_even_over_the_classes(tmp_path):
    write_class_folders(tmp_path, image_count=30)

    data = load_dataset(tmp_path, limit=20)

    assert torch.bincount(data.train_labels).tolist() == [10, 10]


def test_a_limit_too_small_for_the_classes_is_refused():
    with pytest.raises(DataError, match="too small for 10 classes; use 20 or more"):
        load_dataset("digits", limit=12)


def test_images_that_cannot_fit_into_memory_are_refused_before_decoding(tmp_path):
    write_class_folders(tmp_path, image_count=4)

    with pytest.raises(DataError, match=r"need \d+ GiB in memory"):
        load_dataset(tmp_path, image_size=1_000_000)


def test_an_unknown_source_lists_what_there_is():
    with pytest.raises(DataError, match=r"'fashon-mnist' does not exist\. Use digits, fashion-mnist"):
        load_dataset("fashon-mnist")


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "images.tar.gz").write_bytes(b"")

    with pytest.raises(DataError, match="is an archive; unpack it"):
        load_dataset(tmp_path / "images.tar.gz")


FUNCTIONS = """
import torch
from torch.utils.data import DataLoader, TensorDataset

images, labels = torch.rand(20, 3, 6, 6), torch.arange(20) % 2

def tensors():
    return (images, labels), (images[:4], labels[:4])

def loaders():
    return DataLoader(TensorDataset(images, labels), batch_size=8), None

def single():
    return images

def empty():
    return [], None

def broken():
    return {}["train"]

def pictures():
    from PIL import Image
    return [([Image.new("RGB", (8, 8))] * 4, [0, 1, 0, 1])], None
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_images.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    yield "my_images"


def test_a_function_may_return_tensors(user_module):
    data = load_dataset(f"{user_module}:tensors")

    check_invariants(data)
    assert (len(data.train_labels), len(data.test_labels)) == (20, 4)


def test_a_function_may_return_data_loaders_without_a_test_part(user_module):
    data = load_dataset(f"{user_module}:loaders")

    check_invariants(data)
    assert len(data.train_labels) + len(data.test_labels) == 20


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("single", "must return"),
        ("empty", "gave no batches"),
        ("absent", "has no function 'absent'"),
        ("broken", r"failed with KeyError: 'train' \(.*my_images\.py, line 20\)"),
        ("pictures", "pil_to_tensor"),
    ],
)
def test_a_function_that_does_not_fit_is_explained(user_module, function, message):
    with pytest.raises(DataError, match=message):
        load_dataset(f"{user_module}:{function}")


def test_a_module_with_a_mistake_is_explained_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "mistaken_images.py").write_text("images = 1\ndef (:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"failed with SyntaxError: .*mistaken_images\.py, line 2"):
        load_dataset("mistaken_images:load")


def test_a_module_that_is_not_there_is_explained():
    with pytest.raises(DataError, match="Cannot import 'no_such_module_here'"):
        load_dataset("no_such_module_here:load")


@pytest.mark.skipif(not CIFAR_ARCHIVE.exists(), reason="the CIFAR-10 images are not beside this checkout")
def test_the_real_cifar_images_are_read(tmp_path):
    with tarfile.open(CIFAR_ARCHIVE) as archive:
        for member in archive:
            if member.isfile() and int(Path(member.name).stem) % 500 == 0:
                (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                (tmp_path / member.name).write_bytes(source.read())

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert data.class_names == CIFAR_CLASSES
    assert data.image_shape == (3, 32, 32)
    assert (len(data.train_labels), len(data.test_labels)) == (100, 20)


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
