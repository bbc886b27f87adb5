"""The settings of a search and of a training, with what they must satisfy."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from search.errors import RunFolderError

Estimator = Literal["full", "two-path", "reinforce"]
LOGIT_REACH, LARGEST_LOGIT_RATE = 16.0, 0.3
ASCENT_REACH = 30.0
LEAST_REINFORCE_SAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a search runs. The defaults are the paper's where the scale allows; a step is one weight step.

    ``warmup_steps`` train weights alone, under fair uniform paths; then each of the ``search_steps`` is a weight step,
    and after every ``weight_steps_per_architecture_step`` of them comes an architecture step on held-out images. Of the
    weight steps of the search, ``fair_share`` still train fair uniform paths, so that what was given up early is judged
    by weights that go on learning; 0 is the paper's.
    The logits' learning rate and the rate of the dual ascent follow from the number of architecture steps (see
    ``logit_rate`` and ``ascent_rate``); ``logit_learning_rate`` sets the former by hand. ``latency_weight_per_ms``
    replaces the hard target by the paper's plain loss, weight * E[latency]. Networks are derived between
    ``least_budget_share`` of the target and the target: the best network often leaves a few per cent unused.
    ``architecture_steps_per_turn`` is how many architecture steps are taken when one is due: a search that several runs
    share takes one for each, so that none gets fewer than a search of its own would give it.

    The weights' learning rate rises over ``learning_rate_warmup_fraction`` of the steps and falls along a cosine. It is
    eight times the paper's, with clipped gradients: a short search trains each candidate only a few dozen times
    (Fashion-MNIST, one pass, held-out accuracy of random networks: 23 % at 0.05 and batch 128, 61 % at 0.4 with damped
    residuals, 68 % with batch 64).
    """

    warmup_steps: int
    search_steps: int
    batch_size: int = 64
    architecture_batch_size: int = 256
    learning_rate: float = 0.4
    learning_rate_warmup_fraction: float = 0.05
    largest_gradient_norm: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    estimator: Estimator = "full"
    logit_learning_rate: float | None = None
    weight_steps_per_architecture_step: int = 4
    fair_share: float = 0.5
    latency_weight_per_ms: float | None = None
    held_out_fraction: float = 0.15
    reinforce_samples: int = 4
    derive_candidates: int = 48
    derive_images: int = 2000
    least_budget_share: float = 0.95
    seed: int = 0
    architecture_steps_per_turn: int = 1

    def __post_init__(self) -> None:
        counts = ("search_steps", "batch_size", "architecture_batch_size", "derive_candidates", "derive_images")
        for name in (*counts, "architecture_steps_per_turn"):
            if getattr(self, name) < 1:
                raise RunFolderError(f"{name}={getattr(self, name)}; it must be 1 or more.")
        if self.warmup_steps < 0 or self.weight_steps_per_architecture_step < 1:
            raise RunFolderError("warmup_steps must be 0 or more, weight_steps_per_architecture_step 1 or more.")
        if not 0 < self.held_out_fraction < 1:
            raise RunFolderError(f"held_out_fraction={self.held_out_fraction}; it must lie between 0 and 1.")
        if not 0 <= self.fair_share <= 1:
            raise RunFolderError(f"fair_share={self.fair_share}; it must lie between 0 and 1.")
        if self.estimator not in get_args(Estimator):
            raise RunFolderError(f"estimator={self.estimator!r}; known are {', '.join(get_args(Estimator))}.")
        if self.estimator == "reinforce" and self.reinforce_samples < LEAST_REINFORCE_SAMPLES:
            raise RunFolderError(
                f"reinforce_samples={self.reinforce_samples}; it must be {LEAST_REINFORCE_SAMPLES} or more, as each "
                f"reward is compared with the mean of the others."
            )
        if self.latency_weight_per_ms is not None and not 0 <= self.latency_weight_per_ms < float("inf"):
            raise RunFolderError(f"latency_weight_per_ms={self.latency_weight_per_ms}; it must be 0 or more.")
        if not 0 <= self.least_budget_share < 1:
            raise RunFolderError(f"least_budget_share={self.least_budget_share}; it must be 0 or more, and below 1.")

    def require_an_architecture_step(self) -> None:
        """Raise when a search would take none.

        Raises:
            RunFolderError: it would.
        """
        every = self.weight_steps_per_architecture_step
        if self.search_steps < every:
            raise RunFolderError(
                f"search_steps={self.search_steps} with an architecture step after every {every}: none would be taken, "
                f"and the network would be derived from logits that learned nothing. Search for longer."
            )

    def before_deriving(self) -> SearchSettings:
        """The same, without what only decides how networks are derived: a search is resumed whatever that is."""
        return replace(self, derive_candidates=1, derive_images=1, least_budget_share=0.0)

    @property
    def identity(self) -> str:
        """What a checkpoint must share. One step per turn is left out, as by searches from before there were more."""
        values = asdict(self.before_deriving())
        steps_per_turn = values.pop("architecture_steps_per_turn")
        text = repr(tuple(values.values()))
        return text if steps_per_turn == 1 else f"{text}, {steps_per_turn} architecture steps per turn"

    @property
    def total_steps(self) -> int:
        return self.warmup_steps + self.search_steps

    def architecture_steps(self, target_count: int) -> int:
        """How many architecture steps each of ``target_count`` targets gets."""
        turns = self.search_steps // self.weight_steps_per_architecture_step
        return max(1, turns * self.architecture_steps_per_turn // target_count)

    def logit_rate(self, target_count: int) -> float:
        """Adam moves a logit by about this much per step, so the rate times the steps is how far it can go:
        16, enough to settle a position and to change its mind, whether the search is short or long."""
        if self.logit_learning_rate is not None:
            return self.logit_learning_rate
        return min(LARGEST_LOGIT_RATE, LOGIT_REACH / self.architecture_steps(target_count))

    def ascent_rate(self, target_count: int) -> float:
        """Step of the dual ascent on (derived latency / target - 1), in units in which latency pulls as hard as the
        task: a derived network 10 % over the target for a third of the search earns a pull as hard as the task's."""
        return ASCENT_REACH / self.architecture_steps(target_count)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How one network is trained: SGD with Nesterov momentum, cosine learning rate after a linear warm-up, label
    smoothing, no weight decay on batch norm and biases. ``epochs`` may be a fraction.

    ``dropout`` is before the classifier. ``ema_decay`` above 0 keeps a running average of the weights and ships that.
    ``mixup_alpha`` above 0 blends images. The three pay when a network sees its images often enough to learn them by
    heart.
    """

    epochs: float
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_fraction: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    dropout: float = 0.0
    ema_decay: float = 0.0
    mixup_alpha: float = 0.0
    held_out_fraction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.epochs < math.inf and 0 < self.learning_rate < math.inf) or self.batch_size < 1:
            raise RunFolderError(
                f"epochs={self.epochs}, learning_rate={self.learning_rate} and batch_size={self.batch_size} must be "
                f"positive numbers."
            )
        for name, share in (("dropout", self.dropout), ("ema_decay", self.ema_decay)):
            if not 0 <= share < 1:
                raise RunFolderError(f"{name}={share}; it must be 0 or more, and below 1.")
        if not 0 <= self.mixup_alpha < math.inf:
            raise RunFolderError(f"mixup_alpha={self.mixup_alpha}; it must be 0 or more.")
        if not 0 < self.held_out_fraction < 1:
            raise RunFolderError(f"held_out_fraction={self.held_out_fraction}; it must lie between 0 and 1.")
