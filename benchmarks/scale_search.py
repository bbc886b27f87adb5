"""What a search of a space costs on paper: passes over the images, arithmetic, bytes between GPUs, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latency_model.kernels import macs, parameter_count
from latency_model.ops import OpSpec
from search.gated_paths import MANY
from search.settings import Estimator
from search.space import SearchSpace

FP32_BYTES = 4
FORWARD_BACKWARD = 3.0
"""A training step in forward passes: one, and one each for the gradients of activations and of weights."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a search and the training after it last, in passes over the training images.

    Attributes:
        architecture_batch_share: images of an architecture step over those of a weight step.
        epochs_without_architecture_steps: at the start of the search, after the warm-up.
        training_epochs: of the network that was found.
    """

    image_count: int
    warmup_epochs: float
    search_epochs: float
    batch_size: int
    weight_steps_per_architecture_step: int
    training_epochs: float
    architecture_batch_share: float = 1.0
    epochs_without_architecture_steps: float = 0.0

    @property
    def weight_step_count(self) -> int:
        return round(self.weight_epochs * self.image_count / self.batch_size)

    @property
    def architecture_step_count(self) -> int:
        with_steps = self.search_epochs - self.epochs_without_architecture_steps
        return round(with_steps * self.image_count / self.batch_size / self.weight_steps_per_architecture_step)

    @property
    def weight_epochs(self) -> float:
        return self.warmup_epochs + self.search_epochs

    @property
    def architecture_epochs(self) -> float:
        """Passes over as many images as there are training images, in architecture steps."""
        images = self.architecture_step_count * self.batch_size * self.architecture_batch_share
        return images / self.image_count

    def plain_passes(self, weight_cost: float, architecture_cost: float) -> float:
        """The search in passes of a plain training of one path, where a step costs so many plain steps of its size."""
        return self.weight_epochs * weight_cost + self.architecture_epochs * architecture_cost


# Source: search/imagenet_arch_search.py of the released code, and the retraining settings of the released networks.
# 1,281,167 images, of which 50,000 are held out for the architecture.
RELEASED = Schedule(
    image_count=1_281_167 - 50_000,
    warmup_epochs=40,
    search_epochs=120,
    batch_size=256,
    weight_steps_per_architecture_step=5,
    epochs_without_architecture_steps=1,
    training_epochs=300,
)


def path_mean(space: SearchSpace, cost: Callable[[OpSpec], float]) -> float:
    """The mean cost of a uniformly sampled path; stem and head are on every path."""
    fixed = sum(cost(op) for _, op in space.fixed_layers)
    return fixed + sum(sum(costs) / len(costs) for costs in _candidate_costs(space, cost))


def supernet_sum(space: SearchSpace, cost: Callable[[OpSpec], float]) -> float:
    """The cost of everything that the supernet holds."""
    fixed = sum(cost(op) for _, op in space.fixed_layers)
    return fixed + sum(sum(costs) for costs in _candidate_costs(space, cost))


def _candidate_costs(space: SearchSpace, cost: Callable[[OpSpec], float]) -> list[list[float]]:
    return [[float(cost(candidate.op)) for candidate in position.candidates] for position in space.positions]


def weight_step_macs(space: SearchSpace) -> float:
    """Of one image in a weight step of a uniformly sampled path."""
    return FORWARD_BACKWARD * path_mean(space, macs)


def architecture_step_macs(space: SearchSpace, estimator: Estimator) -> float:
    """Of one image in an architecture step, paths sampled uniformly. The active path runs forward and backward without
    gradients of weights; in ``full`` every other candidate runs forward once, and of many the active one again; in
    ``two-path`` one other of each position does.

    Raises:
        ValueError: an estimator that runs no inactive candidates.
    """
    active = path_mean(space, macs)
    searched = active - sum(macs(op) for _, op in space.fixed_layers)
    match estimator:
        case "full":
            others = sum(
                sum(costs) * (1 if len(costs) > MANY else (len(costs) - 1) / len(costs))
                for costs in _candidate_costs(space, macs)
            )
        case "two-path":
            others = searched
        case "reinforce":
            raise ValueError("reinforce draws whole networks: it runs no inactive candidates.")
    return (FORWARD_BACKWARD - 1) * active + others


def ring_bytes(message_bytes: float, gpu_count: int) -> float:
    """What each GPU sends in a ring all-reduce of a message."""
    return 2 * (gpu_count - 1) / gpu_count * message_bytes


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs that share each batch; every figure is an input.

    Attributes:
        images_per_s: of one GPU in plain training of ``reference_macs``; cost is taken as proportional to these.
        link_bytes_per_s: what each GPU sends in an all-reduce.
    """

    gpu_count: int
    images_per_s: float
    reference_macs: float
    link_bytes_per_s: float

    def image_s(self, step_macs: float) -> float:
        """Seconds of one GPU for one image of a step."""
        return step_macs / (FORWARD_BACKWARD * self.reference_macs) / self.images_per_s

    def gpu_hours(self, space: SearchSpace, schedule: Schedule, estimator: Estimator) -> float:
        """The whole search, communication left out."""
        weight = schedule.weight_epochs * self.image_s(weight_step_macs(space))
        architecture = schedule.architecture_epochs * self.image_s(architecture_step_macs(space, estimator))
        return schedule.image_count * (weight + architecture) / 3600

    def compute_s(self, space: SearchSpace, batch_size: int) -> float:
        """One weight step, its batch shared."""
        return batch_size / self.gpu_count * self.image_s(weight_step_macs(space))

    def exchange_s(self, space: SearchSpace) -> float:
        """Averaging the gradients of one path."""
        return ring_bytes(path_gradient_bytes(space), self.gpu_count) / self.link_bytes_per_s

    def even_gpu_count(self, space: SearchSpace, batch_size: int) -> float:
        """How many GPUs spend as long on averaging as on computing, at one batch for all of them."""
        alone_s = batch_size * self.image_s(weight_step_macs(space))
        return 1 + alone_s * self.link_bytes_per_s / (2 * path_gradient_bytes(space))


def path_gradient_bytes(space: SearchSpace) -> float:
    return FP32_BYTES * path_mean(space, parameter_count)


def gpu_memory_bytes(space: SearchSpace, saved_bytes_per_image: float, images: float) -> float:
    """Weights and momentum of the whole supernet, gradients of one path, and what backward needs of the images."""
    weights = 2 * FP32_BYTES * supernet_sum(space, parameter_count)
    return weights + path_gradient_bytes(space) + saved_bytes_per_image * images
