"""What a user would do instead of our search at equal cost: on a uniformly trained supernet, or by full training."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.macro_bench import FloatArray, MacroBench
from search.architecture_step import LatencyTarget, TargetState
from search.batches import SplitData
from search.derive import Judging, derive
from search.judging import HeldOutJudge, judging_batches
from search.paths import fixed_paths
from search.settings import SearchSettings
from search.smoothing import smoothed_losses
from search.space import Choices
from search.supernet import SuperNet
from search.trainer import SearchTrainer


def train_uniformly(trainer: SearchTrainer) -> None:
    """The warm-up alone, with the learning rate falling to 0 at its end."""
    settings = trainer.settings
    trainer.settings = dataclasses.replace(settings, search_steps=1)
    trainer.resume()
    while trainer.step < settings.warmup_steps:
        trainer.take_step()
        if trainer.step % 500 == 0:
            trainer.save()
    trainer.save()


@dataclass(frozen=True)
class BestOfRandom:
    """The network with the lowest held-out loss, and that with the lowest once similar networks have corrected it."""

    own: Choices
    smoothed: Choices


def best_of_random(
    supernet: SuperNet, bench: MacroBench, target: LatencyTarget, data: SplitData, settings: SearchSettings
) -> BestOfRandom:
    """The best of as many random networks just under the budget as our derivation judges."""
    rng = random.Random(f"{settings.seed}/{target.name}")
    near = [bench.choices[row] for row in bench.near(target.target_ms)]
    drawn = rng.sample(near, min(len(near), settings.derive_candidates))
    judge = HeldOutJudge(supernet, judging_batches(data, settings.derive_images))
    losses = [judge.score(fixed_paths(one))[0] for one in drawn]
    return BestOfRandom(
        own=drawn[int(np.argmin(losses))],
        smoothed=drawn[int(smoothed_losses(drawn, losses).argmin())],
    )


def evolved(supernet: SuperNet, target: LatencyTarget, data: SplitData, settings: SearchSettings) -> Choices:
    """Evolution under the budget: our derivation, with as many networks judged, from logits that say nothing, and
    ranked as evolution does, by each network's own loss."""
    state = TargetState(supernet.space, target, settings)
    with torch.no_grad():
        for logits in state.logits.positions:
            logits.zero_()
    return derive(supernet, state, data, settings, Judging(ranked_losses=lambda _, losses, __: losses)).best.choices


def expected_best(accuracy: FloatArray, count: int) -> float:
    """Random search with full training: the accuracy of the best of so many of these networks, drawn at random and each
    once, in the mean over all draws. Exact where all accuracies are known, as in a published table.

    Args:
        accuracy: (networks,) of all that may be drawn.
        count: how many are trained; all of them where there are fewer.
    """
    total = len(accuracy)
    count = min(count, total)
    if count < 1:
        raise ValueError(f"{count} of {total} networks have no best one; draw one or more.")
    # The i-th of n in ascending order is the best of C(i - 1, k - 1) of the C(n, k) draws: k / n for the last, and
    # each other one's share follows from the one above it.
    ranks = np.arange(total, count, -1)
    shares = count / total * np.concatenate([[1.0], np.cumprod((ranks - count) / (ranks - 1))])
    return float(shares @ np.sort(accuracy)[::-1][: len(shares)])


def trainings_to_equal(accuracies: Sequence[FloatArray], accuracy: float) -> int:
    """With how many full trainings for each of several budgets random search is as good in their mean; where it never
    is, the number of all networks of a budget."""
    most = max(map(len, accuracies))
    for count in range(1, most):
        if np.mean([expected_best(of_one, count) for of_one in accuracies]) >= accuracy:
            return count
    return most
