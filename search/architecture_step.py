"""One update of the path logits: the task's gradient, the latency's gradient, and the dual ascent on the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latency_model.loss import LatencyLoss
from search.data.batches import seeded_generator
from search.estimators import TaskGradient, full_gate_gradient, reinforce_gradient, two_path_gate_gradient
from search.gate_gradient import rescaled_pair
from search.path_logits import PathLogits
from search.paths import PathSample
from search.settings import SearchSettings
from search.space import Choices, SearchSpace
from search.supernet import SuperNet

PAIR = 2
REWARD_EXPONENT = 0.1


@dataclass(frozen=True, kw_only=True)
class LatencyTarget:
    """A budget on one device, and what each path of the space costs there.

    ``path_latency_ms``: one (candidates,) array per position; ``fixed_ms``: what every network of the space pays. A
    network's predicted latency is ``fixed_ms`` plus its paths.
    """

    name: str
    target_ms: float
    path_latency_ms: tuple[NDArray[np.float64], ...]
    fixed_ms: float

    def network_ms(self, choices: Choices) -> float:
        """Predicted latency of one network, milliseconds."""
        paths = sum(float(ms[choice]) for ms, choice in zip(self.path_latency_ms, choices, strict=True))
        return self.fixed_ms + paths

    def latency_loss(self) -> LatencyLoss:
        return LatencyLoss([torch.tensor(ms) for ms in self.path_latency_ms], self.fixed_ms, self.target_ms)


class TargetState(nn.Module):
    """What a search learns for one target: logits, multiplier, and the optimiser of the logits."""

    def __init__(self, space: SearchSpace, target: LatencyTarget, settings: SearchSettings) -> None:
        super().__init__()
        self.target = target
        self.logits = PathLogits(space.candidate_counts, seeded_generator(settings.seed, "logits", target.name))
        self.latency_loss = target.latency_loss()
        # betas (0, .999): without momentum a logit that was not sampled does not move (released code).
        self.optimizer = torch.optim.Adam(
            self.logits.parameters(), lr=settings.logit_learning_rate, betas=(0.0, 0.999), weight_decay=0.0
        )


@dataclass(frozen=True)
class ArchitectureStep:
    """What one step saw, before its update."""

    held_out_loss: float
    expected_ms: float
    derived_ms: float


def take_architecture_step(
    supernet: SuperNet,
    state: TargetState,
    batch: tuple[Tensor, Tensor],
    settings: SearchSettings,
    step: int,
) -> ArchitectureStep:
    """Update the logits of one target on one held-out batch; the supernet's weights are not touched."""
    task = _task_gradient(supernet, state, batch, settings, step)
    parts = state.latency_loss(state.logits.probabilities())
    latency_gradients = torch.autograd.grad(parts.loss, list(state.logits.positions))
    before = [alpha.detach().clone() for alpha in state.logits.positions]
    for alpha, task_gradient, latency_gradient, updated in zip(
        state.logits.positions, task.gradients, latency_gradients, task.updated, strict=True
    ):
        alpha.grad = torch.zeros_like(alpha)
        alpha.grad[updated] = (task_gradient + latency_gradient)[updated]
    state.optimizer.step()
    if settings.estimator == "two-path":
        _keep_other_probabilities(state.logits, before, task)
    derived_ms = state.target.network_ms(state.logits.most_probable())
    state.latency_loss.ascend(derived_ms, settings.multiplier_rate)
    return ArchitectureStep(task.loss, float(parts.expected_ms.detach()), derived_ms)


def _task_gradient(
    supernet: SuperNet, state: TargetState, batch: tuple[Tensor, Tensor], settings: SearchSettings, step: int
) -> TaskGradient:
    images, labels = batch
    name = state.target.name
    generator = seeded_generator(settings.seed, "architecture paths", name, step)
    match settings.estimator:
        case "full":
            return full_gate_gradient(supernet, state.logits, images, labels, generator)
        case "two-path":
            return two_path_gate_gradient(supernet, state.logits, images, labels, generator)
        case "reinforce":
            generators = [
                seeded_generator(settings.seed, "architecture paths", name, step, sample)
                for sample in range(settings.reinforce_samples)
            ]

            def reward(sample: PathSample, outputs: Tensor) -> float:
                accuracy = float((outputs.argmax(1) == labels).float().mean())
                ratio = state.target.target_ms / state.target.network_ms(sample.choices)
                return float(accuracy * ratio**REWARD_EXPONENT)

            return reinforce_gradient(supernet, state.logits, reward, images, generators)


def _keep_other_probabilities(logits: PathLogits, before: Sequence[Tensor], task: TaskGradient) -> None:
    with torch.no_grad():
        for alpha, old, pair in zip(logits.positions, before, task.updated, strict=True):
            if pair.numel() == PAIR:
                alpha[pair] = rescaled_pair(old[pair], alpha[pair])
