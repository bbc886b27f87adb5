"""The spaces, batches and steps that the memory and step-cost benchmarks share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.all_paths import AllPathsNetwork, all_paths_step
from latency_model.kernels import kernels_of, macs
from search.architecture_step import LatencyTarget, TargetState, take_architecture_step
from search.batches import SplitData
from search.data.image_data import ImageData
from search.paths import fixed_paths
from search.plain_network import PlainNetwork
from search.settings import Estimator, SearchSettings
from search.space import Candidate, Position, SearchSpace
from search.spaces.imagenet import imagenet_space
from search.spaces.small import small_space
from search.supernet import SuperNet, build_supernet
from search.trainer import SearchFiles, SearchTrainer

Outline = Literal["small", "imagenet"]
StepKind = Literal["plain", "weight", "full", "full-default-batch", "two-path", "all-paths"]
STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)
BATCH = {"small": 64, "imagenet": 8}
GIGA_MACS_PER_S, LAUNCH_MS = 20.0, 0.01
KERNEL_SIZES, EXPANSION = (3, 5, 7), 6
"""Candidates are kernels 3, 5, 7 with expansion 6, each as often as it takes: the width of a path stays, and the number
of candidates alone differs between settings."""


@dataclass(frozen=True)
class Setting:
    """One outline with a number of candidates per position, and one network of it: kernel 3 throughout."""

    space: SearchSpace
    batch_size: int

    @property
    def choices(self) -> tuple[int, ...]:
        return tuple([c.label for c in position.candidates].index("k3 e6") for position in self.space.positions)

    def batch(self) -> tuple[Tensor, Tensor]:
        _, channels, height, width = self.space.input_shape
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch_size, channels, height, width, generator=generator)
        classes = self.space.head[-1][1].output_shape[1]
        labels = torch.randint(classes, (self.batch_size,), generator=generator)
        return images.contiguous(memory_format=torch.channels_last), labels


def make_setting(outline: Outline, candidate_count: int) -> Setting:
    """A space with ``candidate_count`` (a multiple of 3) candidates at every position, none of them Zero."""
    match outline:
        case "small":
            space = small_space((3, 32, 32), 10)
        case "imagenet":
            space = imagenet_space()
    positions = tuple(
        dataclasses.replace(position, candidates=_wide(position) * (candidate_count // len(KERNEL_SIZES)))
        for position in space.positions
    )
    return Setting(dataclasses.replace(space, positions=positions), BATCH[outline])


def _wide(position: Position) -> tuple[Candidate, ...]:
    return tuple(c for c in position.candidates if c.label in {f"k{k} e{EXPANSION}" for k in KERNEL_SIZES})


def analytic_target(space: SearchSpace, target_ms: float, name: str = "analytic") -> LatencyTarget:
    """A stated stand-in for a device: 20 GMAC/s for convolutions, 4 for depthwise ones, and 10 us for each kernel."""

    def cost_ms(ops: object) -> float:
        kernels = kernels_of(ops)  # type: ignore[arg-type]
        speed = [GIGA_MACS_PER_S / (5 if kernel.kind == "depthwise" else 1) for kernel in kernels]
        return sum(macs(kernel) / (1e6 * rate) + LAUNCH_MS for kernel, rate in zip(kernels, speed, strict=True))

    paths = tuple(np.array([cost_ms(c.op) for c in position.candidates]) for position in space.positions)
    fixed_ms = sum(cost_ms(op) for _, op in (*space.stem, *space.head))
    return LatencyTarget(name=name, target_ms=target_ms, path_latency_ms=paths, fixed_ms=fixed_ms)


def make_step(setting: Setting, kind: StepKind) -> Callable[[], None]:
    """A step that can be taken again and again, all of its modules built."""
    batch = setting.batch()
    if kind == "plain":
        return _plain_step(setting, batch)
    if kind == "weight":
        return _weight_step(setting, batch)
    if kind == "full-default-batch":
        larger = SearchSettings(warmup_steps=0, search_steps=1).architecture_batch_size
        return make_step(dataclasses.replace(setting, batch_size=larger), "full")
    supernet = build_supernet(setting.space, torch.Generator().manual_seed(0))
    match kind:
        case "full" | "two-path":
            return _architecture_step(setting, supernet, kind, batch)
        case "all-paths":
            supernet.requires_grad_(False)
            logits = [torch.zeros(count, requires_grad=True) for count in setting.space.candidate_counts]
            optimizer = torch.optim.Adam(logits, lr=0.0, betas=(0.0, 0.999))
            return partial(all_paths_step, AllPathsNetwork(supernet), logits, optimizer, *batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class _OneBatch(SplitData):
    """Gives the same batch at every step: to draw one costs as much in plain training."""

    batch: tuple[Tensor, Tensor]

    def train_batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - it is always the same
        return self.batch


def _weight_step(setting: Setting, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """The search's own step, with its clipping and its optimiser over the weights of all candidates."""
    images, labels = batch
    pixels, classes = images.to(torch.uint8), setting.space.head[-1][1].output_shape[1]
    every_image, channels = torch.arange(len(labels)), images.shape[1]
    data = _OneBatch(
        data=ImageData(
            name="noise",
            train_images=pixels,
            train_labels=labels,
            test_images=pixels,
            test_labels=labels,
            class_names=tuple(map(str, range(classes))),
            hash="noise",
        ),
        train_index=every_image,  # not divided: a batch of 8 has most of 1,000 classes once or not at all
        held_out_index=every_image,
        mean=torch.zeros(channels),
        std=torch.ones(channels),
        seed=0,
        batch=batch,
    )
    settings = SearchSettings(warmup_steps=1, search_steps=1_000_000, batch_size=setting.batch_size)
    targets = [analytic_target(setting.space, 1.0)]
    trainer = SearchTrainer(setting.space, data, targets, settings, SearchFiles(folder=Path("nothing is written")))
    paths = fixed_paths(setting.choices)
    return lambda: void(trainer.weight_step(paths))


def _architecture_step(
    setting: Setting, supernet: SuperNet, estimator: Estimator, batch: tuple[Tensor, Tensor]
) -> Callable[[], None]:
    settings = SearchSettings(warmup_steps=0, search_steps=100, estimator=estimator)
    state = TargetState(setting.space, analytic_target(setting.space, 1.0), settings)
    with torch.no_grad():
        for alpha, choice in zip(state.logits.positions, setting.choices, strict=True):
            alpha[choice] = 30.0  # the active path is the network that the plain step trains
    for group in state.optimizer.param_groups:
        group["lr"] = 0.0
    return lambda: void(take_architecture_step(supernet, state, batch, settings, step=0))


def _plain_step(setting: Setting, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    network = setting.space.network(setting.choices)
    model = PlainNetwork(network, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    optimizer = _sgd(model)
    return lambda: _train(model, optimizer, batch)


def _sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=4e-5)


def _train(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    optimizer.zero_grad(set_to_none=True)
    functional.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
    optimizer.step()


def void(_: object) -> None:
    """Drops a result."""
