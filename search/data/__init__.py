"""Labelled images for the search: reading, splitting, batching and augmenting them."""

from search.data.augment import Augmentation, augment, augmentation_for, channel_statistics, normalise
from search.data.batches import ShuffledBatches, seeded_generator
from search.data.errors import DataError
from search.data.image_data import ImageData
from search.data.load import load_dataset
from search.data.split import balanced_subset, split_held_out

__all__ = [
    "Augmentation",
    "DataError",
    "ImageData",
    "ShuffledBatches",
    "augment",
    "augmentation_for",
    "balanced_subset",
    "channel_statistics",
    "load_dataset",
    "normalise",
    "seeded_generator",
    "split_held_out",
]
