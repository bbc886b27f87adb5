"""Derive: from trained logits to one network under the budget, judged on held-out images."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from search.architecture_step import LatencyTarget, TargetState
from search.batches import SplitData
from search.budget import best_under_budget
from search.paths import fixed_paths
from search.settings import SearchSettings
from search.space import Choices
from search.supernet import SuperNet

JUDGE_BATCH = 500
SAMPLED_SHARE = 0.5
PARENTS = 6
FILL_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One network under the budget and its held-out loss with the supernet's weights."""

    choices: Choices
    predicted_ms: float
    held_out_loss: float
    held_out_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """The derived network, the plain argmax beside it, and how sure the logits were."""

    best: Judged
    argmax: Choices
    argmax_ms: float
    entropy: tuple[float, ...]
    margin: tuple[float, ...]
    judged: tuple[Judged, ...]


def derive(
    supernet: SuperNet,
    state: TargetState,
    data: SplitData,
    settings: SearchSettings,
    on_judged: Callable[[int, int], None] | None = None,
) -> Derivation:
    """The network with the lowest held-out loss among the most probable ones under the budget and their neighbours.

    First the most probable network that fits (exact), then draws from the distribution that fit, then changes of one
    or two positions of the best so far. All are judged with the supernet's weights and batch norm on the statistics of
    large held-out batches. Ties and draws depend on the seed alone.

    Raises:
        TargetError: no network of the space fits the budget.
    """
    judge = _Judge(supernet, state.target, data, settings, on_judged)
    log_probabilities = [np.log(np.maximum(p.detach().double().numpy(), 1e-12)) for p in state.logits.probabilities()]
    rng = random.Random(f"{settings.seed}/derive/{state.target.name}")
    judge.add(_most_probable(log_probabilities, state.target))
    sampled_count = max(1, round(settings.derive_candidates * SAMPLED_SHARE))
    _until(judge, sampled_count, lambda: _perturbed(log_probabilities, state.target, rng))
    _until(judge, settings.derive_candidates, lambda: _neighbour(judge.best(PARENTS), state.target, rng))
    probabilities = [np.exp(values) for values in log_probabilities]
    argmax = state.logits.most_probable()
    return Derivation(
        best=judge.best(1)[0],
        argmax=argmax,
        argmax_ms=state.target.network_ms(argmax),
        entropy=tuple(float(-(p * np.log(p)).sum()) for p in probabilities),
        margin=tuple(float(np.diff(np.sort(np.append(p, 0.0))[-2:])[0]) for p in probabilities),
        judged=tuple(judge.judged.values()),
    )


class _Judge:
    """Judges each network once."""

    def __init__(
        self,
        supernet: SuperNet,
        target: LatencyTarget,
        data: SplitData,
        settings: SearchSettings,
        on_judged: Callable[[int, int], None] | None,
    ) -> None:
        self.supernet, self.target, self.on_judged = supernet, target, on_judged
        self.batches = judging_batches(data, settings.derive_images)
        self.total = settings.derive_candidates
        self.judged: dict[Choices, Judged] = {}

    def add(self, choices: Choices) -> bool:
        """Judge a network that was not judged before; False when it was."""
        if choices in self.judged:
            return False
        loss, accuracy = held_out_score(self.supernet, choices, self.batches)
        self.judged[choices] = Judged(
            choices=choices,
            predicted_ms=self.target.network_ms(choices),
            held_out_loss=loss,
            held_out_accuracy=accuracy,
        )
        if self.on_judged is not None:
            self.on_judged(len(self.judged), self.total)
        return True

    def best(self, count: int) -> list[Judged]:
        return sorted(self.judged.values(), key=lambda one: (one.held_out_loss, one.choices))[:count]


def judging_batches(data: SplitData, image_count: int) -> list[tuple[Tensor, Tensor]]:
    """Held-out images in large shuffled batches: each network is judged on the same ones."""
    batch_size = min(JUDGE_BATCH, len(data.held_out_index))
    count = max(1, min(image_count, len(data.held_out_index)) // batch_size)
    return [data.held_out_batch(step, batch_size) for step in range(count)]


def held_out_score(
    supernet: SuperNet, choices: Choices, batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[float, float]:
    """(cross-entropy, accuracy) of one network with shared weights; batch norm uses each batch's own statistics,
    which recalibrates it for exactly this network."""
    loss = correct = count = 0.0
    with torch.no_grad():
        for images, labels in batches:
            outputs = supernet(images, fixed_paths(choices))
            loss += float(functional.cross_entropy(outputs, labels, reduction="sum"))
            correct += float((outputs.argmax(1) == labels).sum())
            count += len(labels)
    return loss / count, correct / count


def _most_probable(log_probabilities: Sequence[NDArray[np.float64]], target: LatencyTarget) -> Choices:
    return best_under_budget(log_probabilities, target.path_latency_ms, target.fixed_ms, target.target_ms)


def _perturbed(log_probabilities: Sequence[NDArray[np.float64]], target: LatencyTarget, rng: random.Random) -> Choices:
    """A draw from the path distribution that fits: the best under the budget of Gumbel-perturbed scores."""
    noisy = [scores - np.log(-np.log([rng.random() or 0.5 for _ in scores])) for scores in log_probabilities]
    return _most_probable(noisy, target)


def _neighbour(parents: Sequence[Judged], target: LatencyTarget, rng: random.Random) -> Choices | None:
    """One or two positions of a good network changed; None when that misses the budget or leaves much of it unused."""
    choices = list(rng.choice(parents).choices)
    for position in rng.sample(range(len(choices)), k=min(len(choices), rng.choice((1, 2)))):
        choices[position] = rng.randrange(len(target.path_latency_ms[position]))
    latency_ms = target.network_ms(tuple(choices))
    fits = FILL_SHARE * target.target_ms <= latency_ms <= target.target_ms
    return tuple(choices) if fits else None


def _until(judge: _Judge, count: int, draw: Callable[[], Choices | None]) -> None:
    """Judge draws until ``count`` networks are judged, or until new ones no longer turn up."""
    for _ in range(20 * count):
        if len(judge.judged) >= count:
            return
        choices = draw()
        if choices is not None:
            judge.add(choices)
