"""The networks that ``equal_accuracy`` compares: found by the push button or made by hand, timed together, trained."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.local_devices import DEVICE_FILES
from latency_model.campaign import run_campaign
from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec
from profiler_agent.errors import DeviceThrottled
from profiler_agent.session import Session
from search.allocator import keep_freed_memory
from search.batches import split_data
from search.data.image_data import ImageData
from search.data.load import load_dataset
from search.networks import reference_network
from search.parent import PARENT, while_parent_lives
from search.run import Run, start_run
from search.run_settings import RunSettings, Target
from search.settings import TrainSettings
from search.steps.derive import derive_networks, measured_ms, random_networks
from search.steps.fit import fit
from search.steps.handmade import kinds_of, nearest_handmade
from search.steps.profile import profile
from search.steps.search import fix_targets, search
from search.train_network import NetworkTrainer, TrainFiles, read_result

DEVICE = DEVICE_FILES / "local_cpu_onnxruntime.yaml"
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is compared, on which images, and how long all of it trains. ``multiples`` are of the budget: how slow the
    MobileNetV2-like networks are."""

    folder: Path
    data: str
    preset: str
    image_count: int
    image_size: int | None = None
    budget: Target
    epochs: float
    search_seeds: tuple[int, ...]
    train_seeds: tuple[int, ...]
    multiples: tuple[float, ...]
    other_blocks: int
    other_block_seeds: tuple[int, ...]
    random_count: int


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A network, and the seeds that it is trained with. ``family``: derived, mobilenetv2-like, random, or a block."""

    family: str
    network: NetworkSpec
    seeds: tuple[int, ...]


def cifar10_as_npz(archive: Path, folder: Path) -> Path:
    """All training and test images of the archive in one file, decoded once."""
    kept = folder / "cifar10.npz"
    if not kept.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "cifar10", filter="data")
        data = load_dataset(folder / "cifar10")
        beside = kept.with_suffix(".part.npz")
        np.savez(
            beside,
            x_train=data.train_images.numpy(),
            y_train=data.train_labels.numpy(),
            x_test=data.test_images.numpy(),
            y_test=data.test_labels.numpy(),
            class_names=np.array(data.class_names),
        )
        beside.rename(kept)
    return kept


def entrants(contest: Contest) -> tuple[Run, list[Entrant]]:
    """What the push button derives, once for each seed of a search, and what is made by hand or drawn beside it.

    Returns:
        The first search's run, which knows device and measurements, and the networks.
    """
    runs = list(_searched(contest))
    first, names = runs[0], [f"derived{run.settings.seed}" for run in runs]
    found = [
        Entrant(family="derived", network=replace(run.read_network("derived"), name=name), seeds=contest.train_seeds)
        for run, name in zip(runs, names, strict=True)
    ]
    reference, target_ms = reference_network(first.space), fix_targets(first)[0].target_ms
    with first.open_device("handmade") as session:

        def scaled(network: NetworkSpec, name: str, budget_ms: float) -> NetworkSpec:
            return nearest_handmade(network, name, budget_ms, lambda some: measured_ms(first, session, some))[0]

        found += [
            Entrant(
                family="mobilenetv2-like",
                network=scaled(reference, f"mobilenetv2-like{multiple:g}", multiple * target_ms),
                seeds=contest.train_seeds,
            )
            for multiple in contest.multiples
        ]
        found += [
            Entrant(
                family=str(kind),
                network=scaled(kind.of(reference), str(kind), target_ms),
                seeds=contest.other_block_seeds,
            )
            for kind in kinds_of(first.space, reference)[: contest.other_blocks]
        ]
        found += [
            Entrant(family="random", network=network, seeds=contest.train_seeds[:1])
            for network in _drawn(first, session, contest.random_count, target_ms)
        ]
    return first, found


def _searched(contest: Contest) -> Iterator[Run]:
    """The push button as far as the derived network; a second search takes the first one's timings and budget."""
    console, measurements, budget = Console(stderr=True), None, contest.budget
    for seed in contest.search_seeds:
        settings = RunSettings(
            device=str(DEVICE),
            data=contest.data,
            target=budget,
            preset=contest.preset,
            image_size=contest.image_size,
            image_limit=contest.image_count,
            measurements=measurements,
            seed=seed,
        )
        run = start_run(contest.folder / f"search{seed}", settings)
        profile(run, console)
        fit(run, console)
        search(run, console)
        derive_networks(run, console)
        measurements = measurements or str(run.measurements)
        budget = Target(milliseconds=fix_targets(run)[0].target_ms)
        yield run


def _drawn(run: Run, session: Session, count: int, target_ms: float) -> list[NetworkSpec]:
    """Random networks just under the budget, as measured."""
    if count == 0:
        return []
    target = fix_targets(run)[0]
    drawn = [
        network
        for part in range(1 + count // 4)
        for network in random_networks(run.space, target, random.Random(f"equal accuracy/{part}"))
    ]
    latency_ms = measured_ms(run, session, drawn)
    fitting = [network for network in dict.fromkeys(drawn) if latency_ms[paid_ops(network)] <= target_ms]
    return [replace(network, name=f"random{index}") for index, network in enumerate(fitting[:count])]


def time_together(run: Run, found: Sequence[Entrant], file: Path) -> dict[str, float]:
    """Milliseconds of all networks, by name, in one campaign: what differs then is not the day.

    Raises:
        DeviceThrottled: a network has no usable timing after several campaigns.
    """
    networks = [entrant.network for entrant in found]
    with run.open_device("contest") as session:
        for _ in range(ATTEMPTS):
            measured = run_campaign(session, networks, file).usable()
            latency_ms = {one.paid_ops: one.latency_ms for one in measured}
            if all(paid_ops(network) in latency_ms for network in networks):
                return {network.name: latency_ms[paid_ops(network)] for network in networks}
    raise DeviceThrottled(
        f"{run.device.name} was throttled in each of {ATTEMPTS} campaigns; let it cool, and run again."
    )


def train_all(contest: Contest, found: Sequence[Entrant], latency_ms: dict[str, float]) -> dict[str, list[float]]:
    """Test accuracy of each network, by name, for each of its seeds; one process a core, the slowest first."""
    jobs = [(entrant.network, seed) for entrant in found for seed in entrant.seeds]
    jobs.sort(key=lambda job: -latency_ms[job[0].name])
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("spawn"), initializer=_alone
    ) as processes:
        accuracies = dict(
            zip(
                ((network.name, seed) for network, seed in jobs),
                processes.map(_train, *zip(*((contest, network, seed) for network, seed in jobs), strict=True)),
                strict=True,
            )
        )
    return {
        entrant.network.name: [accuracies[entrant.network.name, seed] for seed in entrant.seeds] for entrant in found
    }


def _alone() -> None:
    os.environ[PARENT] = str(os.getppid())
    torch.set_num_threads(1)
    keep_freed_memory()


@cache
def _images(data: str, image_size: int | None, image_count: int) -> ImageData:
    return load_dataset(data, image_size=image_size, limit=image_count)


def _train(contest: Contest, network: NetworkSpec, seed: int) -> float:
    """Kept once done, and taken up where it stopped."""
    settings = TrainSettings(epochs=contest.epochs, seed=seed)
    of_this = hashlib.sha256(repr((network.layers, settings)).encode()).hexdigest()[:10]
    files = TrainFiles(folder=contest.folder / "train" / f"{network.name}-seed{seed}-{of_this}")
    if not files.result.exists():
        images = _images(contest.data, contest.image_size, contest.image_count)
        data = split_data(images, held_out_fraction=settings.held_out_fraction, seed=seed)
        NetworkTrainer(network, data, settings, files).run(while_parent_lives(None, worker_count=1))
    return float(read_result(files)["accuracy"])
