"""Trains any network that is named: a file as a run writes it, or a name of the zoo; not only those of a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from latency_model.network import NetworkSpec, network_to_json
from search.batches import split_data
from search.data.image_data import ImageData
from search.data.load import load_dataset
from search.errors import RunFolderError
from search.files import write_json
from search.live_curves import live_curves
from search.network_file import read_network_file
from search.parent import while_parent_lives
from search.progress import progress
from search.run_lock import alone_in
from search.settings import TrainSettings
from search.train_network import NetworkTrainer, TrainFiles
from search.workers import join_workers
from search.zoo import SMALLEST_PIXELS, build_network

IMAGE_DIMENSIONS = 4


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """Which images to train on: what ``load_dataset`` takes."""

    data: str
    image_size: int | None = None
    limit: int | None = None

    def load(self, image_size: int | None = None) -> ImageData:
        """``image_size`` counts where the user named none."""
        return load_dataset(self.data, image_size=self.image_size or image_size, limit=self.limit)


def train_any(
    network: str, images: ImageChoice, out: Path, settings: TrainSettings, console: Console
) -> dict[str, Any]:
    """Train to the end, or go on where a stopped training stood. Under ``torchrun`` all processes share the work.

    Args:
        network: a .json file that holds one, or a name of the zoo.
    Returns:
        What ``result.json`` holds.
    Raises:
        RunFolderError: the network does not fit the images, or another process is at work in ``out``.
        SpaceError: no file and no name of the zoo.
        CheckpointError: ``out`` holds another training.
    """
    spec, data = _network_and_images(network, images)
    split = split_data(data, held_out_fraction=settings.held_out_fraction, seed=settings.seed)
    files = TrainFiles(folder=out)
    with join_workers() as workers, ExitStack() as held:
        if workers.is_first:
            held.enter_context(alone_in(out))
        trainer = NetworkTrainer(spec, split, settings, files, workers)
        trainer.resume()
        if not workers.is_first:
            return trainer.run(while_parent_lives(None, workers.count))
        write_json(out / "network.json", network_to_json(spec))
        with (
            progress(console, "train") as update,
            live_curves(files.events, out / "tensorboard", "train", trainer.step, update) as on_step,
        ):
            return trainer.run(while_parent_lives(on_step, workers.count))


def _network_and_images(network: str, images: ImageChoice) -> tuple[NetworkSpec, ImageData]:
    if Path(network).suffix == ".json":
        spec = read_network_file(Path(network))
        data = images.load(max(spec.input_shape[2:], default=None))
        require_fit(spec, data.image_shape, data.class_count)
        return spec, data
    data = images.load()
    if images.image_size is None and min(data.image_shape[1:]) < SMALLEST_PIXELS:
        data = images.load(SMALLEST_PIXELS)
    return build_network(network, data.image_shape, data.class_count), data


def require_fit(network: NetworkSpec, image_shape: tuple[int, int, int], class_count: int) -> None:
    """Raise when a network takes other images, or tells another number of classes apart.

    Raises:
        RunFolderError: it does.
    """
    taken = network.input_shape[1:]
    if len(network.input_shape) != IMAGE_DIMENSIONS or tuple(taken) != tuple(image_shape):
        raise RunFolderError(
            f"{network.name} takes images of {_shape(taken)}; the data holds {_shape(image_shape)} (channels, height, "
            f"width). Give --image-size, or another network."
        )
    if network.output_shape[1:] != (class_count,):
        raise RunFolderError(
            f"{network.name} gives {_shape(network.output_shape[1:])} numbers; the data has {class_count} classes. "
            f"Give the network a last layer of {class_count} features."
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
