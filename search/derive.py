"""Derive: from trained logits to one network under the budget, judged on held-out images."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from search.architecture_step import LatencyTarget, TargetState
from search.batches import SplitData
from search.budget import Scores, best_under_budget
from search.errors import TargetError
from search.judging import HeldOutJudge, judging_batches
from search.paths import fixed_paths
from search.ranking import ranked_losses
from search.settings import SearchSettings
from search.space import Choices
from search.supernet import SuperNet
from search.workers import ALONE, Workers

SAMPLED_SHARE = 0.25
PARENTS = 6
LIKENESS = 100.0
"""A neighbour keeps its parent's choices first; log probabilities, divided by this, decide between equal ones."""
FORCED = 1e3

RankedLosses: TypeAlias = Callable[
    [Sequence[Choices], Sequence[float], Sequence[float]], Sequence[float] | NDArray[np.float64]
]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One network under the budget and its held-out loss with the supernet's weights.

    Attributes:
        ranked_loss: what the network is ranked by: its loss in the light of those judged beside it and of the logits.
    """

    choices: Choices
    predicted_ms: float
    held_out_loss: float
    held_out_accuracy: float
    ranked_loss: float
    width: int = 0


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How networks are judged.

    Attributes:
        workers: who shares the images.
        on_judged: is told how many of how many networks are judged.
        ranked_losses: (networks, their losses, their log probabilities) -> the losses they are ranked by.
    """

    workers: Workers = ALONE
    on_judged: Callable[[int, int], None] | None = None
    ranked_losses: RankedLosses = ranked_losses


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
    judging: Judging = Judging(),
) -> Derivation:
    """The network with the lowest held-out loss among the most probable ones that use the budget, and their neighbours.

    A network uses the budget when its latency is between ``settings.least_budget_share`` of the target and the target
    (where the space has no such network: anywhere under the target). First comes the most probable one (exact), then
    draws from the distribution, then changes of one or two positions of the best so far, repaired to the budget. All
    are judged with the supernet's weights and batch norm on the statistics of large held-out batches, and ranked by
    their losses once similar networks and the logits have corrected them (``ranking.ranked_losses``). Ties and draws
    depend on the seed alone; with several workers each judges a share of the images, so that all derive one network.

    Raises:
        TargetError: no network of the space fits the budget.
    """
    log_probabilities = [np.log(np.maximum(p.detach().double().numpy(), 1e-12)) for p in state.logits.probabilities()]
    judge = _Judge(supernet, state.target, log_probabilities, data, settings, judging)
    budget = _Budget(state.target, settings.least_budget_share)
    rng = random.Random(f"{settings.seed}/derive/{state.target.name}")
    judge.add(budget.best(log_probabilities))
    sampled_count = max(1, round(settings.derive_candidates * SAMPLED_SHARE))
    _until(judge, sampled_count, lambda: _perturbed(log_probabilities, budget, rng))
    _until(
        judge, settings.derive_candidates, lambda: _neighbour(judge.ranked()[:PARENTS], log_probabilities, budget, rng)
    )
    probabilities = [np.exp(values) for values in log_probabilities]
    argmax = state.logits.most_probable()
    return Derivation(
        best=judge.ranked()[0],
        argmax=argmax,
        argmax_ms=state.target.network_ms(argmax),
        entropy=tuple(float(-(p * np.log(p)).sum()) for p in probabilities),
        margin=tuple(float(np.diff(np.sort(np.append(p, 0.0))[-2:])[0]) for p in probabilities),
        judged=tuple(judge.ranked()),
    )


def rank(judged: Judged) -> tuple[float, Choices]:
    """The key to sort by, the best network first."""
    return judged.ranked_loss, judged.choices


def derive_among_widths(derivations: Sequence[Derivation]) -> Derivation:
    """Of the derivations of each width under one budget, that of the best network; what was judged is joined.

    Raises:
        TargetError: there is none, as no width has a network under the budget.
    """
    if not derivations:
        raise TargetError(
            "No network of the space meets the budget any more: with the device in the loop, the search has learned "
            "that even the fastest one is slower there. Allow a larger budget, or choose a space of smaller networks, "
            "in a new run folder (with the same --measurements nothing is timed again)."
        )
    best = min(derivations, key=lambda one: rank(one.best))
    return dataclasses.replace(best, judged=tuple(judged for one in derivations for judged in one.judged))


class _Judge:
    """Judges each network once."""

    def __init__(
        self,
        supernet: SuperNet,
        target: LatencyTarget,
        log_probabilities: Scores,
        data: SplitData,
        settings: SearchSettings,
        judging: Judging,
    ) -> None:
        self.target, self.log_probabilities, self.judging = target, log_probabilities, judging
        self.held_out = HeldOutJudge(supernet, judging_batches(data, settings.derive_images), judging.workers)
        self.total = settings.derive_candidates
        self.judged: dict[Choices, Judged] = {}

    def add(self, choices: Choices) -> bool:
        """Judge a network that was not judged before; False when it was."""
        if choices in self.judged:
            return False
        width = self.target.width
        loss, accuracy = self.held_out.score(fixed_paths(choices, width))
        self.judged[choices] = Judged(
            choices=choices,
            predicted_ms=self.target.network_ms(choices),
            held_out_loss=loss,
            held_out_accuracy=accuracy,
            ranked_loss=loss,
            width=width,
        )
        if self.judging.on_judged is not None:
            self.judging.on_judged(len(self.judged), self.total)
        return True

    def ranked(self) -> list[Judged]:
        """All that were judged, the best first."""
        losses = self.judging.ranked_losses(
            list(self.judged),
            [one.held_out_loss for one in self.judged.values()],
            [self._log_probability(choices) for choices in self.judged],
        )
        ranked = [
            dataclasses.replace(one, ranked_loss=float(loss))
            for one, loss in zip(self.judged.values(), losses, strict=True)
        ]
        return sorted(ranked, key=rank)

    def _log_probability(self, choices: Choices) -> float:
        return float(sum(values[choice] for values, choice in zip(self.log_probabilities, choices, strict=True)))


@dataclass(frozen=True)
class _Budget:
    """The band of latencies in which networks are derived."""

    target: LatencyTarget
    least_share: float

    def best(self, scores: Scores) -> Choices:
        """The network in the band with the highest total score."""
        target = self.target
        floor_ms = self.least_share * target.target_ms
        return best_under_budget(scores, target.path_latency_ms, target.fixed_ms, target.target_ms, floor_ms)


def _perturbed(log_probabilities: Scores, budget: _Budget, rng: random.Random) -> Choices:
    """A draw from the path distribution: the best in the band for Gumbel-perturbed scores."""
    return budget.best(
        [scores - np.log(-np.log([rng.random() or 0.5 for _ in scores])) for scores in log_probabilities]
    )


def _neighbour(parents: Sequence[Judged], log_probabilities: Scores, budget: _Budget, rng: random.Random) -> Choices:
    """A good network with one or two positions changed at random, and as few others as the band then asks for."""
    parent = rng.choice(parents).choices
    scores = [values / LIKENESS for values in log_probabilities]
    for position, choice in enumerate(parent):
        scores[position] = scores[position].copy()
        scores[position][choice] += 1.0
    for position in rng.sample(range(len(parent)), k=min(len(parent), rng.choice((1, 2)))):
        forced = rng.randrange(len(scores[position]))
        scores[position][forced] += FORCED
    return budget.best(scores)


def _until(judge: _Judge, count: int, draw: Callable[[], Choices]) -> None:
    """Judge draws until ``count`` networks are judged, or until new ones no longer turn up."""
    for _ in range(20 * count):
        if len(judge.judged) >= count:
            return
        judge.add(draw())
