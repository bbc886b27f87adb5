"""Folders of images: what is read from them, and what is said when it cannot be."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from profiler_agent.errors import ProxylessError
from search.data import DataError, load_dataset
from tests.search.data.image_files import check_invariants, write_class_folders, write_image

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


def test_an_image_folder_without_a_test_part_gets_one(tmp_path):
    write_class_folders(tmp_path, image_count=10)

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (3, 6, 8)
    assert torch.bincount(data.test_labels).tolist() == [2, 2]
    assert torch.equal(data.test_images, load_dataset(tmp_path).test_images)


@pytest.mark.parametrize(
    ("train_name", "test_name"),
    [("train", "test"), ("train", "val"), ("Train", "Test"), ("Training", "Testing"), ("training_set", "test-set")],
)
def test_an_image_folder_may_bring_train_and_test(tmp_path, train_name, test_name):
    write_class_folders(tmp_path / train_name, image_count=4)
    write_class_folders(tmp_path / test_name, image_count=3)

    data = load_dataset(tmp_path)

    check_invariants(data)
    assert (len(data.train_labels), len(data.test_labels)) == (8, 6)
    assert data.class_names == ("cat", "dog")
    assert str(data).endswith(": 8 training and 6 test images, colour, 8x6; 2 classes: cat, dog")


def test_hidden_files_and_what_lies_in_hidden_folders_are_no_images(tmp_path):
    write_class_folders(tmp_path, image_count=10)
    plain = load_dataset(tmp_path)
    for hidden in (".thumbnails/0.png", "more/.originals/1.png", "._2.png"):
        write_image(tmp_path / "cat" / hidden, size=(8, 6), colour=(1, 2, 3))
    (tmp_path / "cat" / ".originals").mkdir()
    (tmp_path / "cat" / ".originals" / "0.heic").touch()

    assert load_dataset(tmp_path).hash == plain.hash


def test_parts_of_a_split_are_no_classes(tmp_path):
    for part in ("Test", "val"):
        write_class_folders(tmp_path / part, image_count=4)
    with pytest.raises(DataError, match="which are no classes but parts of a split"):
        load_dataset(tmp_path)


def test_two_training_parts_are_not_chosen_between(tmp_path):
    for part in ("train", "Training"):
        write_class_folders(tmp_path / part, image_count=4)
    with pytest.raises(DataError, match="several training parts"):
        load_dataset(tmp_path)


def test_photos_under_a_browsers_suffix_are_read(tmp_path):
    write_class_folders(tmp_path, image_count=10)
    photo = tmp_path / "cat" / "0.png"
    Image.open(photo).save(tmp_path / "cat" / "saved.jfif", format="JPEG")
    data = load_dataset(tmp_path)
    assert len(data.train_labels) + len(data.test_labels) == 21


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


def test_images_that_cannot_fit_into_memory_are_refused_before_decoding(tmp_path):
    write_class_folders(tmp_path, image_count=4)

    with pytest.raises(DataError, match=r"need \d+ GiB in memory"):
        load_dataset(tmp_path, image_size=1_000_000)


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


def write_arrays(folder, array, **mode):
    """Three equal images of each of two classes."""
    for class_name in ("cat", "dog"):
        (folder / class_name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(array, **mode).save(
                folder / class_name / f"{i}.{'tif' if array.dtype != np.uint8 else 'png'}"
            )


def test_what_is_transparent_is_white_and_not_the_colour_that_hides_there(tmp_path):
    drawn = np.zeros((6, 8, 4), np.uint8)
    drawn[:3, :, 3] = 255  # a black upper half on nothing
    write_arrays(tmp_path, drawn)
    pixels = load_dataset(tmp_path).train_images
    assert (pixels[:, :, :3] == 0).all()
    assert (pixels[:, :, 3:] == 255).all()


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.full((6, 8), 0.5, np.float32), "floating-point"),
        (np.full((6, 8), 70_000, np.int32), "32-bit values go from 70000"),
        (np.full((6, 8), 200, np.int32), "32-bit values go from 200"),
        (np.full((6, 8), 4000, np.uint16), "10 images of 16 bits has a value above 4000"),
    ],
)
def test_values_of_which_nobody_can_tell_the_white_are_refused(tmp_path, array, told):
    write_arrays(tmp_path, array)
    with pytest.raises(DataError, match=told):
        load_dataset(tmp_path)


def test_a_part_beside_training_and_test_is_said_to_be_unused(tmp_path):
    for part in ("train", "test", "val"):
        write_class_folders(tmp_path / part, image_count=3)
    data = load_dataset(tmp_path)
    assert data.unused == ("val",)
    assert str(data).endswith("; val is not used")
