"""One update of the path logits: the task's gradient, the latency's gradient, and the dual ascent on the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latency_model.loss import LatencyLoss
from search.data.batches import seeded_generator
from search.estimators import TaskGradient, full_gate_gradient, reinforce_gradient, two_path_gate_gradient
from search.gate_gradient import logit_gradient, rescaled_pair, two_path_probability
from search.path_logits import PathLogits
from search.paths import PathSample
from search.settings import SearchSettings
from search.space import Choices, SearchSpace
from search.supernet import SuperNet
from search.workers import ALONE, Workers

PAIR = 2
REWARD_EXPONENT = 0.1
PROPORTIONAL_PULL = 2.0
PULL_MEMORY = 0.9


@dataclass(frozen=True, kw_only=True)
class LatencyTarget:
    """A budget on one device, and what each path of the space costs there.

    ``path_latency_ms``: one (candidates,) array per position; ``fixed_ms``: what every network of the space pays. A
    network's predicted latency is ``fixed_ms`` plus its paths. ``width``: which width of the space (narrowest first)
    these latencies are of; a budget in a space of several widths is one target for each.
    """

    name: str
    target_ms: float
    path_latency_ms: tuple[NDArray[np.float64], ...]
    fixed_ms: float
    width: int = 0

    def network_ms(self, choices: Choices) -> float:
        """Predicted latency of one network, milliseconds."""
        paths = sum(float(ms[choice]) for ms, choice in zip(self.path_latency_ms, choices, strict=True))
        return self.fixed_ms + paths

    def latency_loss(self) -> LatencyLoss:
        return LatencyLoss([torch.tensor(ms) for ms in self.path_latency_ms], self.fixed_ms, self.target_ms)

    def with_latencies(self, path_latency_ms: Sequence[NDArray[np.float64]], fixed_ms: float) -> LatencyTarget:
        """The same budget, with what paths cost as it is known now."""
        return replace(self, path_latency_ms=tuple(path_latency_ms), fixed_ms=fixed_ms)


class TargetState(nn.Module):
    """What a search learns for one target: logits, multiplier, and the optimiser of the logits.

    ``pull``: how strong the task's gradient on the logits is beside that of expected / target, a running mean. It makes
    the dual ascent free of the loss's scale: one set of rates serves a fresh supernet and a trained one.
    """

    pull: Tensor

    def __init__(
        self, space: SearchSpace, target: LatencyTarget, settings: SearchSettings, target_count: int = 1
    ) -> None:
        super().__init__()
        self.logits = PathLogits(space.candidate_counts, seeded_generator(settings.seed, "logits", target.name))
        self.register_buffer("pull", torch.zeros((), dtype=torch.float64))
        self.ascent_rate = settings.ascent_rate(target_count)
        self.weight_per_ms = settings.latency_weight_per_ms
        self.target = target
        self.latency_loss = target.latency_loss()
        # betas (0, .999): without momentum a logit that was not sampled does not move (released code).
        self.optimizer = torch.optim.Adam(
            self.logits.parameters(), lr=settings.logit_rate(target_count), betas=(0.0, 0.999), weight_decay=0.0
        )

    def aim_at(self, target: LatencyTarget) -> None:
        """Search for this target from now on, as when a device corrects its latencies; logits and multiplier stay."""
        multiplier = self.latency_loss.multiplier
        self.target = target
        self.latency_loss = target.latency_loss()
        self.latency_loss.multiplier.copy_(multiplier)

    def strength(self, derived_ms: float) -> float:
        """How hard expected / target pulls in this step: the multiplier, at once raised (lowered) while the derived
        network is above (below) the target, or the paper's fixed weight.

        The immediate part damps the ascent. Below the target it may outweigh the multiplier and pull upwards: the
        network will be derived on the budget, so that is where the supernet has to be trained.

        Source of the proportional part: Stooke, Achiam and Abbeel, PID Lagrangian methods, ICML 2020.
        """
        if self.weight_per_ms is not None:
            return self.weight_per_ms * self.target.target_ms
        excess = derived_ms / self.target.target_ms - 1
        return float(self.latency_loss.multiplier) + PROPORTIONAL_PULL * float(self.pull) * excess

    def compare_gradients(self, task: Sequence[Tensor], ratio: Sequence[Tensor]) -> None:
        """Take one step's gradients (of the task's loss and of expected / target, on the logits) into ``pull``."""
        task_norm, ratio_norm = (
            math.sqrt(sum(float(part.square().sum()) for part in parts)) for parts in (task, ratio)
        )
        if ratio_norm > 0:
            now = task_norm / ratio_norm
            self.pull.fill_(now if float(self.pull) == 0 else PULL_MEMORY * float(self.pull) + (1 - PULL_MEMORY) * now)

    def ascend(self, derived_ms: float) -> None:
        """One step of dual ascent on the derived network's latency."""
        if self.weight_per_ms is None:
            self.latency_loss.ascend(derived_ms, self.ascent_rate * float(self.pull))


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
    workers: Workers = ALONE,
) -> ArchitectureStep:
    """Update the logits of one target on one held-out batch; the supernet's weights are not touched.

    Args:
        batch: the whole batch; each worker takes its share and the gradients are averaged.
    """
    task = _averaged(_task_gradient(supernet, state, workers.share(batch), settings, step), batch, workers)
    parts = state.latency_loss(state.logits.probabilities())
    if settings.estimator == "two-path":
        ratio_gradients = _pair_ratio_gradients(state, task)
    else:
        ratio_gradients = list(torch.autograd.grad(parts.ratio, list(state.logits.positions)))
    derived_ms = state.target.network_ms(state.logits.most_probable())
    state.compare_gradients(task.gradients, ratio_gradients)
    strength = state.strength(derived_ms)
    before = [alpha.detach().clone() for alpha in state.logits.positions]
    for alpha, task_gradient, ratio_gradient in zip(
        state.logits.positions, task.gradients, ratio_gradients, strict=True
    ):
        alpha.grad = task_gradient.to(alpha) + strength * ratio_gradient
    state.optimizer.step()
    if settings.estimator == "two-path":
        _keep_other_probabilities(state.logits, before, task)
    state.ascend(derived_ms)
    return ArchitectureStep(task.loss, float(parts.expected_ms.detach()), derived_ms)


def _pair_ratio_gradients(state: TargetState, task: TaskGradient) -> list[Tensor]:
    """The gradient of expected / target where only the drawn paths exist, as the task's gradient is taken.

    That of the full softmax would not do: with both paths slower than the mean it lowers both logits, Adam makes the
    two steps equal, and what rescales the pair takes them back.
    """
    gradients = []
    for alpha, pair, latency_ms in zip(
        state.logits.positions, task.updated, state.latency_loss.path_latency_ms, strict=True
    ):
        gradient = torch.zeros_like(alpha)
        ratio = latency_ms[pair].to(alpha) / state.target.target_ms
        gradient[pair] = logit_gradient(two_path_probability(alpha.detach(), pair), ratio)
        gradients.append(gradient)
    return gradients


def _averaged(task: TaskGradient, batch: tuple[Tensor, Tensor], workers: Workers) -> TaskGradient:
    """The gradient on the whole batch, from those on each worker's share."""
    own_count = len(range(workers.rank, len(batch[1]), workers.count))
    weight = workers.weight_of(own_count, len(batch[1]))
    loss = torch.tensor(task.loss, dtype=torch.float64) * weight
    gradients = [gradient * weight for gradient in task.gradients]
    workers.average_([loss, *gradients])
    return TaskGradient(float(loss), tuple(gradients), task.updated)


def _task_gradient(
    supernet: SuperNet, state: TargetState, batch: tuple[Tensor, Tensor], settings: SearchSettings, step: int
) -> TaskGradient:
    images, labels = batch
    name = state.target.name
    generator = seeded_generator(settings.seed, "architecture paths", name, step)
    match settings.estimator:
        case "full":
            return full_gate_gradient(supernet, state.logits, images, labels, generator, state.target.width)
        case "two-path":
            return two_path_gate_gradient(supernet, state.logits, images, labels, generator, state.target.width)
        case "reinforce":
            generators = [
                seeded_generator(settings.seed, "architecture paths", name, step, sample)
                for sample in range(settings.reinforce_samples)
            ]

            losses: list[float] = []

            def reward(sample: PathSample, outputs: Tensor) -> float:
                losses.append(float(functional.cross_entropy(outputs, labels)))
                return latency_aware_reward(outputs, labels, state.target, sample.choices)

            task = reinforce_gradient(supernet, state.logits, reward, images, generators, state.target.width)
            return replace(task, loss=sum(losses) / len(losses))  # what the other estimators report, not the reward


def latency_aware_reward(outputs: Tensor, labels: Tensor, target: LatencyTarget, choices: Choices) -> float:
    """accuracy * (target / latency)^0.1 of one network.

    Source: Tan et al., MnasNet, CVPR 2019; the exponent is that of Cai, Zhu and Han, ProxylessNAS, ICLR 2019.
    """
    accuracy = float((outputs.argmax(1) == labels).float().mean())
    return float(accuracy * (target.target_ms / target.network_ms(choices)) ** REWARD_EXPONENT)


def _keep_other_probabilities(logits: PathLogits, before: Sequence[Tensor], task: TaskGradient) -> None:
    with torch.no_grad():
        for alpha, old, pair in zip(logits.positions, before, task.updated, strict=True):
            if pair.numel() == PAIR:
                alpha[pair] = rescaled_pair(old[pair], alpha[pair])
