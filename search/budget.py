"""The best sum of scores under a latency budget, exactly: one candidate per position, by dynamic programming."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.errors import TargetError
from search.space import Choices

GRID_STEPS = 4000
Scores = Sequence[NDArray[np.float64]]


def latency_range_ms(path_latency_ms: Scores, fixed_ms: float) -> tuple[float, float]:
    """Predicted latency of the fastest and of the slowest network, milliseconds."""
    fastest = fixed_ms + sum(float(ms.min()) for ms in path_latency_ms)
    slowest = fixed_ms + sum(float(ms.max()) for ms in path_latency_ms)
    return fastest, slowest


def best_under_budget(
    scores: Scores, path_latency_ms: Scores, fixed_ms: float, budget_ms: float, floor_ms: float = 0.0
) -> Choices:
    """The choices with the highest total score whose latency is at most the budget, and at least the floor.

    A multiple-choice knapsack. Latencies are rounded up to 1/4000 of the spare budget, so the answer never exceeds
    the budget; a network within positions/4000 of it (or of the floor) may be passed over.

    Args:
        scores: one (candidates,) array per position; log probabilities give the most probable network.
        path_latency_ms: same shapes, milliseconds.
        fixed_ms: what every network pays.
        floor_ms: where no network lies between floor and budget, the floor is dropped.
    Raises:
        TargetError: the fastest network is above the budget.
    """
    fastest_ms, _ = latency_range_ms(path_latency_ms, fixed_ms)
    spare_ms = budget_ms - fastest_ms
    if spare_ms < 0:
        raise TargetError(f"The budget is {budget_ms:.4g} ms, but the fastest network takes {fastest_ms:.4g} ms.")
    costs = [_grid_costs(ms, spare_ms) for ms in path_latency_ms]
    totals, picks = _best_by_exact_cost(scores, costs)
    least = 0
    if floor_ms > fastest_ms and spare_ms > 0:
        least = math.ceil((floor_ms - fastest_ms) / spare_ms * GRID_STEPS) + len(costs)
    if least > GRID_STEPS or not np.isfinite(totals[least:]).any():
        least = 0
    left = least + int(totals[least:].argmax())
    choices = []
    for pick, cost in zip(reversed(picks), reversed(costs), strict=True):
        choices.append(int(pick[left]))
        left -= int(cost[choices[-1]])
    return tuple(reversed(choices))


def _best_by_exact_cost(
    scores: Scores, costs: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """The best total score for each exact cost (-inf where there is none), and each position's pick there."""
    best = np.full(GRID_STEPS + 1, -np.inf)
    best[0] = 0.0
    picks = []
    for score, cost in zip(scores, costs, strict=True):
        table = np.full((len(score), GRID_STEPS + 1), -np.inf)
        for candidate, (value, steps) in enumerate(zip(score, cost, strict=True)):
            if steps <= GRID_STEPS:
                table[candidate, steps:] = best[: GRID_STEPS + 1 - steps] + value
        picks.append(table.argmax(axis=0))
        best = table.max(axis=0)
    return best, picks


def _grid_costs(latency_ms: NDArray[np.float64], spare_ms: float) -> NDArray[np.int64]:
    extra_ms = latency_ms - latency_ms.min()
    if spare_ms == 0:
        return np.where(extra_ms > 0, GRID_STEPS + 1, 0).astype(np.int64)
    steps = np.ceil(extra_ms / spare_ms * GRID_STEPS - 1e-9)
    return np.asarray(np.minimum(steps, GRID_STEPS + 1), dtype=np.int64)
