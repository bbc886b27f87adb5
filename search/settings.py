"""The settings of a search and of a training, with what they must satisfy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search.errors import RunFolderError

Estimator = Literal["full", "two-path", "reinforce"]


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a search runs. The defaults are the paper's where the scale allows; a step is one weight step.

    ``warmup_steps`` train weights alone, under fair uniform paths; then each of the ``search_steps`` is a weight step,
    and after every ``weight_steps_per_architecture_step`` of them comes an architecture step on held-out images.
    ``logit_learning_rate`` must scale with the number of architecture steps (1e-3 belongs to about 100,000).
    ``multiplier_rate`` is the step of the dual ascent on (derived latency / target - 1).
    """

    warmup_steps: int
    search_steps: int
    batch_size: int = 128
    architecture_batch_size: int = 256
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    estimator: Estimator = "full"
    logit_learning_rate: float = 0.05
    weight_steps_per_architecture_step: int = 2
    multiplier_rate: float = 0.05
    held_out_fraction: float = 0.15
    reinforce_samples: int = 4
    derive_candidates: int = 48
    derive_images: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("search_steps", "batch_size", "architecture_batch_size", "derive_candidates", "derive_images"):
            if getattr(self, name) < 1:
                raise RunFolderError(f"{name}={getattr(self, name)}; it must be 1 or more.")
        if self.warmup_steps < 0 or self.weight_steps_per_architecture_step < 1:
            raise RunFolderError("warmup_steps must be 0 or more, weight_steps_per_architecture_step 1 or more.")
        if not 0 < self.held_out_fraction < 1:
            raise RunFolderError(f"held_out_fraction={self.held_out_fraction}; it must lie between 0 and 1.")

    @property
    def total_steps(self) -> int:
        return self.warmup_steps + self.search_steps


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How one network is trained from scratch: SGD with Nesterov momentum, cosine learning rate after a linear
    warm-up, label smoothing, no weight decay on batch norm and biases. ``epochs`` may be a fraction.
    """

    epochs: float
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_fraction: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    dropout: float = 0.0
    held_out_fraction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.batch_size < 1:
            raise RunFolderError(f"epochs={self.epochs} and batch_size={self.batch_size} must be positive.")
        if not 0 < self.held_out_fraction < 1:
            raise RunFolderError(f"held_out_fraction={self.held_out_fraction}; it must lie between 0 and 1.")
