"""Which paths of the supernet run in one forward pass, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from search.data.batches import seeded_generator


@dataclass(frozen=True, eq=False)
class PositionPaths:
    """The active path of one position; with ``gates``, also those whose gate gradient is wanted.

    ``gates`` is a leaf of shape (1 + inactive paths,): 1 for the active path, then 0 for each inactive one. The
    gradient dL/dg arrives there.
    """

    active: int
    inactive: tuple[int, ...] = ()
    gates: Tensor | None = None

    @property
    def indices(self) -> tuple[int, ...]:
        """The candidates that ``gates`` stands for, in its order."""
        return (self.active, *self.inactive)


@dataclass(frozen=True, eq=False)
class PathSample:
    """One sampled network: the paths of every position, in the space's width number ``width`` (narrowest first)."""

    positions: tuple[PositionPaths, ...]
    width: int = 0

    @property
    def choices(self) -> tuple[int, ...]:
        return tuple(position.active for position in self.positions)


def fixed_paths(choices: Sequence[int], width: int = 0) -> PathSample:
    """The paths of one given network, with no gates."""
    return PathSample(tuple(PositionPaths(active=choice) for choice in choices), width)


def fair_paths(candidate_counts: Sequence[int], seed: int, step: int, width_count: int = 1) -> PathSample:
    """Uniform paths for the warm-up, in turns: over as many steps as a position has candidates, each runs once.
    Widths take turns as well, each for one step.

    Source of the strict turn: Chu, Zhang and Xu, FairNAS, ICCV 2021.
    """
    choices = []
    for position, count in enumerate(candidate_counts):
        turn, place = divmod(step, count)
        order = torch.randperm(count, generator=seeded_generator(seed, "fair paths", position, turn))
        choices.append(int(order[place]))
    return fixed_paths(choices, step % width_count)


def sample_paths(probabilities: Sequence[Tensor], generator: torch.Generator, width: int = 0) -> PathSample:
    """One path per position from its distribution, with no gates: a weight step.

    Args:
        probabilities: one (candidates,) vector per position, each summing to 1.
    """
    return fixed_paths([_draw(probability, 1, generator)[0] for probability in probabilities], width)


def sample_full_gates(probabilities: Sequence[Tensor], generator: torch.Generator, width: int = 0) -> PathSample:
    """One active path per position; every other one is inactive and gets its gate gradient too."""
    positions = []
    for probability in probabilities:
        active = _draw(probability, 1, generator)[0]
        inactive = tuple(index for index in range(probability.numel()) if index != active)
        positions.append(PositionPaths(active, inactive, _gates(len(inactive), probability)))
    return PathSample(tuple(positions), width)


def sample_two_paths(probabilities: Sequence[Tensor], generator: torch.Generator, width: int = 0) -> PathSample:
    """Two paths per position without replacement from its distribution; one of the two, by their probabilities
    renormalised, is active. A position with a single candidate has no inactive path.

    Source: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, section 3.2.
    """
    positions = []
    for probability in probabilities:
        drawn = _draw(probability, min(2, probability.numel()), generator)
        pair = probability[list(drawn)]
        first = _draw(pair / pair.sum(), 1, generator)[0]
        active = drawn[first]
        inactive = tuple(index for index in drawn if index != active)
        positions.append(PositionPaths(active, inactive, _gates(len(inactive), probability)))
    return PathSample(tuple(positions), width)


def _draw(probability: Tensor, count: int, generator: torch.Generator) -> tuple[int, ...]:
    drawn = torch.multinomial(probability.detach().double().cpu(), count, generator=generator)
    return tuple(int(index) for index in drawn)


def _gates(inactive_count: int, like: Tensor) -> Tensor:
    gates = torch.zeros(1 + inactive_count, dtype=like.dtype, device=like.device)
    gates[0] = 1.0
    return gates.requires_grad_()
