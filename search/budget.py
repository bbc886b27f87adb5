"""The best sum of scores under a latency budget: one candidate per position, by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.errors import TargetError
from search.space import Choices

GRID_STEPS = 4000
ROUNDED_UP_POSITIONS = 40
STEP_TOLERANCE = 1e-9
PRICE_HALVINGS = 50
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

    A multiple-choice knapsack on a grid of 1/4000 of the spare budget. The best network of each cell is judged by its
    exact latency, so the answer never exceeds the budget. Few positions are rounded up; a network within positions/4000
    of the budget may be passed over. Many are rounded to the nearest step, as rounding up would add up to more than a
    narrow band holds, and judged at a price per step.

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
    step_count = max(GRID_STEPS, len(scores))
    extra_steps = [_extra_steps(ms, spare_ms, step_count) for ms in path_latency_ms]
    floor_steps = (floor_ms - fastest_ms) / spare_ms * step_count if spare_ms > 0 else 0.0
    costs, price = [np.ceil(steps - STEP_TOLERANCE).astype(np.int64) for steps in extra_steps], 0.0
    highest = step_count
    if len(scores) > ROUNDED_UP_POSITIONS:
        costs = [np.rint(steps).astype(np.int64) for steps in extra_steps]
        price = _price_per_step(scores, extra_steps, floor_steps, step_count)
        highest += len(scores) // 2  # where a network within the budget may lie on the grid
    priced = [score - price * steps for score, steps in zip(scores, extra_steps, strict=True)]
    totals, picks = _best_by_cost(priced, costs, highest)
    cells = np.flatnonzero(np.isfinite(totals))
    networks = _choices_of(cells, picks, costs)
    used_steps = np.zeros(len(cells))
    for steps, choice in zip(extra_steps, networks, strict=True):
        used_steps += steps[choice]
    within = used_steps <= step_count + STEP_TOLERANCE * len(scores)
    if (within & (used_steps >= floor_steps)).any():
        within &= used_steps >= floor_steps
    best = int(np.where(within, totals[cells] + price * used_steps, -np.inf).argmax())
    return tuple(int(choice[best]) for choice in networks)


def _best_by_cost(
    scores: Scores, costs: Sequence[NDArray[np.int64]], highest: int
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """The best total score for each cost on the grid (-inf where there is none), and each position's pick there."""
    best = np.full(highest + 1, -np.inf)
    best[0] = 0.0
    picks = []
    for score, cost in zip(scores, costs, strict=True):
        table = np.full((len(score), highest + 1), -np.inf)
        for candidate, (value, steps) in enumerate(zip(score, cost, strict=True)):
            if steps <= highest:
                table[candidate, steps:] = best[: highest + 1 - steps] + value
        picks.append(table.argmax(axis=0))
        best = table.max(axis=0)
    return best, picks


def _choices_of(
    cells: NDArray[np.int64], picks: Sequence[NDArray[np.int64]], costs: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """For each position the choice of the best network of each cell."""
    left, choices = cells, []
    for pick, cost in zip(reversed(picks), reversed(costs), strict=True):
        choices.append(pick[left])
        left = left - cost[choices[-1]]
    return choices[::-1]


def _extra_steps(latency_ms: NDArray[np.float64], spare_ms: float, step_count: int) -> NDArray[np.float64]:
    """What each candidate takes above the fastest, in steps of the grid; above the grid where there is none."""
    extra_ms = latency_ms - latency_ms.min()
    if spare_ms == 0:
        return np.where(extra_ms > 0, 2.0 * step_count, 0.0)
    return np.asarray(np.minimum(extra_ms / spare_ms * step_count, 2.0 * step_count))


def _price_per_step(scores: Scores, extra_steps: Scores, floor_steps: float, budget_steps: float) -> float:
    """What a step must cost for the best network to lie between floor and budget (below 0 where it must be slower).

    Off the scores, it leaves nothing to be won by a latency that the grid misjudges.
    """

    def used_at(price: float) -> float:
        used = 0.0
        for score, steps in zip(scores, extra_steps, strict=True):
            used += float(steps[np.where(steps <= budget_steps, score - price * steps, -np.inf).argmax()])
        return used

    free = used_at(0.0)
    if floor_steps <= free <= budget_steps:
        return 0.0
    smallest = min((float(steps[steps > 0].min()) for steps in extra_steps if (steps > 0).any()), default=1.0)
    highest = max(float(np.ptp(score)) for score in scores) / smallest
    too_slow, fast = (0.0, highest) if free > budget_steps else (-highest, 0.0)
    wanted = budget_steps if free > budget_steps else floor_steps
    for _ in range(PRICE_HALVINGS):
        middle = (too_slow + fast) / 2
        too_slow, fast = (middle, fast) if used_at(middle) > wanted else (too_slow, middle)
    return fast if free > budget_steps else too_slow
