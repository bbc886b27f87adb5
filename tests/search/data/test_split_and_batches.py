"""Splits, batches, statistics and augmentation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data import (
    Augmentation,
    DataError,
    ShuffledBatches,
    augment,
    augmentation_for,
    channel_statistics,
    load_dataset,
    normalise,
    seeded_generator,
    split_held_out,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_held_out_part_has_the_same_share_of_every_class():
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 3)

    train_index, held_out_index = split_held_out(labels, fraction=0.2, generator=generator())

    assert torch.bincount(labels[held_out_index]).tolist() == [20, 10, 1]
    assert sorted(torch.cat([train_index, held_out_index]).tolist()) == list(range(153))


def test_the_split_is_the_generators():
    labels = torch.arange(100) % 5

    first = split_held_out(labels, fraction=0.3, generator=generator(1))[1]
    again = split_held_out(labels, fraction=0.3, generator=generator(1))[1]
    other = split_held_out(labels, fraction=0.3, generator=generator(2))[1]

    assert torch.equal(first, again) and not torch.equal(first, other)


@given(st.lists(st.integers(2, 12), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_every_class_is_in_both_parts(class_sizes, fraction, seed):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(class_sizes)])

    train_index, held_out_index = split_held_out(labels, fraction=fraction, generator=generator(seed))

    assert set(labels[train_index].tolist()) == set(labels[held_out_index].tolist()) == set(labels.tolist())
    assert not set(train_index.tolist()) & set(held_out_index.tolist())


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_leaves_a_part_empty_is_refused(fraction):
    with pytest.raises(DataError, match="between 0 and 1"):
        split_held_out(torch.arange(10) % 2, fraction=fraction, generator=generator())


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(DataError, match="Class 1 has one image"):
        split_held_out(torch.tensor([0, 0, 1]), fraction=0.5, generator=generator())


def test_no_images_cannot_be_split():
    with pytest.raises(DataError, match="no images to split"):
        split_held_out(torch.tensor([], dtype=torch.int64), fraction=0.5, generator=generator())


def test_an_epoch_shows_each_image_once_at_most():
    batches = ShuffledBatches(count=103, batch_size=10, seed=3)

    seen = torch.cat([batches.batch_index(step) for step in range(batches.batches_per_epoch)])

    assert batches.batches_per_epoch == 10
    assert len(seen.unique()) == len(seen) == 100


def test_a_fresh_process_finds_the_same_batch_at_any_step():
    unbroken = ShuffledBatches(count=50, batch_size=8, seed=3)
    history = [unbroken.batch_index(step).tolist() for step in range(40)]

    resumed = ShuffledBatches(count=50, batch_size=8, seed=3)

    assert resumed.batch_index(29).tolist() == history[29]
    assert resumed.batch_index(7).tolist() == history[7]


def test_epochs_and_seeds_are_shuffled_differently():
    batches = ShuffledBatches(count=50, batch_size=50, seed=3)

    assert batches.batch_index(0).tolist() != batches.batch_index(1).tolist()
    other = ShuffledBatches(count=50, batch_size=50, seed=4)
    assert batches.batch_index(1).tolist() != other.batch_index(0).tolist()
    assert batches.epoch(1) == 1


def test_changing_a_batch_changes_no_later_one():
    batches = ShuffledBatches(count=10, batch_size=5, seed=0)
    before = batches.batch_index(1).tolist()

    batches.batch_index(1).zero_()

    assert batches.batch_index(1).tolist() == before


def test_fewer_images_than_a_batch_make_one_small_batch():
    batches = ShuffledBatches(count=3, batch_size=8, seed=0)

    assert batches.batches_per_epoch == 1
    assert sorted(batches.batch_index(5).tolist()) == [0, 1, 2]


def test_batches_over_nothing_are_refused():
    with pytest.raises(DataError, match="no images to make batches of"):
        ShuffledBatches(count=0, batch_size=8, seed=0)


def test_a_seeded_generator_depends_on_every_part_of_its_key():
    draws = {
        torch.rand(1, generator=seeded_generator(*key)).item()
        for key in [(0,), (1,), (0, "augment", 0), (0, "augment", 1), (0, "paths", 0)]
    }

    assert len(draws) == 5


def test_normalised_training_images_have_mean_zero_and_deviation_one():
    images = torch.randint(0, 256, (300, 3, 7, 5), dtype=torch.uint8, generator=generator())
    images[:, 1] //= 4

    mean, std = channel_statistics(images)
    values = normalise(images, mean, std)

    assert values.dtype == torch.float32
    assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (values.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3


def test_normalise_is_pixel_over_255_less_mean_over_deviation():
    image = torch.tensor([[[[51]]]], dtype=torch.uint8)

    value = normalise(image, torch.tensor([0.5]), torch.tensor([0.1]))

    assert value.item() == pytest.approx((51 / 255 - 0.5) / 0.1, abs=1e-6)


def test_a_constant_channel_stays_finite():
    images = torch.full((4, 1, 3, 3), 9, dtype=torch.uint8)

    assert normalise(images, *channel_statistics(images)).abs().max() < 1e-4


def test_augmentation_is_the_generators():
    images = torch.rand(16, 3, 8, 8, generator=generator())

    assert torch.equal(augment(images, generator(1)), augment(images, generator(1)))
    assert not torch.equal(augment(images, generator(1)), augment(images, generator(2)))


def test_without_padding_and_flip_nothing_changes():
    images = torch.rand(4, 3, 8, 8, generator=generator())

    assert torch.equal(augment(images, generator(), Augmentation(padding=0, has_flip=False)), images)


def test_a_flip_mirrors_whole_images_and_only_some():
    images = torch.rand(64, 2, 6, 5, generator=generator())

    result = augment(images, generator(), Augmentation(padding=0, has_flip=True))

    is_same = (result == images).flatten(1).all(1)
    is_mirrored = (result == images.flip(3)).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all()
    assert 16 < is_mirrored.sum() < 48


def test_a_crop_moves_each_image_by_no_more_than_the_padding_and_fills_with_the_mean():
    images = torch.zeros(200, 1, 9, 9)
    images[:, :, 4, 4] = 1

    result = augment(images, generator(), Augmentation(padding=2, has_flip=False))

    rows, columns = result[:, 0].flatten(1).argmax(1) // 9, result[:, 0].flatten(1).argmax(1) % 9
    assert result.sum() == 200
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}


def test_written_digits_are_not_mirrored():
    assert not augmentation_for(load_dataset("digits", limit=40)).has_flip


def test_colour_images_are_mirrored_even_when_their_classes_are_numbers(tmp_path):
    images = np.zeros((8, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "cifar.npz", x_train=images, y_train=np.arange(8) % 2)

    assert augmentation_for(load_dataset(tmp_path / "cifar.npz")) == Augmentation(padding=4, has_flip=True)
