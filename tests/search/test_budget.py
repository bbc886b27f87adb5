"""The best choice under a budget, held against trying all, and where those are too many against an upper bound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from search.budget import GRID_STEPS, best_under_budget, latency_range_ms
from search.errors import TargetError
from search.spaces.registry import load_space
from tests.search.conftest import target_from_macs


def random_problem(seed, positions=4, candidates=4):
    rng = np.random.default_rng(seed)
    scores = [rng.normal(size=candidates) for _ in range(positions)]
    latency_ms = [rng.uniform(0, 1, size=candidates) for _ in range(positions)]
    return scores, latency_ms


@pytest.mark.parametrize("seed", range(20))
def test_no_network_within_the_budget_scores_higher(seed):
    scores, latency_ms = random_problem(seed)
    fastest, slowest = latency_range_ms(latency_ms, 0.1)
    budget = fastest + 0.4 * (slowest - fastest)
    found = best_under_budget(scores, latency_ms, 0.1, budget)

    def total(values, choices):
        return sum(value[choice] for value, choice in zip(values, choices))

    slack = len(scores) * (budget - fastest) / GRID_STEPS
    best = max(
        total(scores, choices)
        for choices in itertools.product(range(4), repeat=4)
        if 0.1 + total(latency_ms, choices) <= budget - slack
    )
    assert 0.1 + total(latency_ms, found) <= budget
    assert total(scores, found) >= best


def test_the_fastest_network_meets_exactly_its_own_latency():
    scores, latency_ms = random_problem(3)
    fastest, _ = latency_range_ms(latency_ms, 0.0)
    assert best_under_budget(scores, latency_ms, 0.0, fastest) == tuple(int(ms.argmin()) for ms in latency_ms)


def test_a_budget_below_the_fastest_network_is_refused():
    scores, latency_ms = random_problem(0)
    with pytest.raises(TargetError, match="fastest network"):
        best_under_budget(scores, latency_ms, 1.0, 0.5)


def networks_of(latency_ms, scores):
    """Latency and score of every network."""
    return np.array(
        [
            [sum(values[c] for values, c in zip(part, choices)) for part in (latency_ms, scores)]
            for choices in itertools.product(*(range(len(ms)) for ms in latency_ms))
        ]
    ).T


@pytest.mark.parametrize("floor_share", [0.95, 0.99])
@pytest.mark.parametrize("seed", range(10))
def test_a_network_just_above_the_floor_is_not_passed_over(seed, floor_share):
    scores, latency_ms = random_problem(seed, positions=5)
    scores = [values - 3 * ms for values, ms in zip(scores, latency_ms)]  # fast ones score high
    budget = np.mean(latency_range_ms(latency_ms, 0.0))
    found = best_under_budget(scores, latency_ms, 0.0, budget, floor_share * budget)
    every_ms, every_score = networks_of(latency_ms, scores)
    within = (every_ms <= budget) & (every_ms >= floor_share * budget)
    assert sum(values[c] for values, c in zip(scores, found)) == pytest.approx(every_score[within].max())


def highest_possible(scores, latency_ms, low_ms, high_ms):
    """No network with a latency from low to high scores more: the smallest Lagrangian bound."""

    def bound(price):
        free = sum(float((values - price * ms).max()) for values, ms in zip(scores, latency_ms))
        return free + price * (high_ms if price > 0 else low_ms)

    cheap, dear = -1e4, 1e4
    for _ in range(60):  # the bound is convex in the price
        left, right = cheap + (dear - cheap) / 3, dear - (dear - cheap) / 3
        cheap, dear = (cheap, right) if bound(left) < bound(right) else (left, dear)
    return bound((cheap + dear) / 2)


@pytest.fixture(scope="module", params=["cifar-tree-b2-f96", "cifar-tree"])
def many_positions(request):
    space = load_space(request.param, (3, 32, 32), 10)
    assert len(space.positions) == {"cifar-tree-b2-f96": 84, "cifar-tree": 756}[request.param]
    return target_from_macs(space, 1.0)


@pytest.mark.parametrize("floor_share", [0.95, 0.99])
@pytest.mark.parametrize("reach", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("worth_of_latency", [-5.0, 0.0, 5.0])
def test_with_many_positions_the_band_is_kept_and_the_score_is_the_best_to_two_thousandths(
    many_positions, worth_of_latency, reach, floor_share
):
    device, rng = many_positions, np.random.default_rng(0)
    scores = [rng.normal(size=len(ms)) + worth_of_latency * ms / ms.max() for ms in device.path_latency_ms]
    fastest_ms, slowest_ms = latency_range_ms(device.path_latency_ms, device.fixed_ms)
    budget_ms = fastest_ms + reach * (slowest_ms - fastest_ms)
    floor_ms = floor_share * budget_ms
    found = best_under_budget(scores, device.path_latency_ms, device.fixed_ms, budget_ms, floor_ms)
    assert floor_ms <= device.network_ms(found) <= budget_ms
    score = sum(values[choice] for values, choice in zip(scores, found))
    band = (floor_ms - device.fixed_ms, budget_ms - device.fixed_ms)
    reachable = sum(float(np.ptp(values)) for values in scores)
    assert score >= highest_possible(scores, device.path_latency_ms, *band) - 0.002 * reachable


def test_more_positions_than_steps_of_the_grid_still_meet_the_budget():
    rng = np.random.default_rng(0)
    latency_ms = [rng.uniform(0, 1, size=2) for _ in range(GRID_STEPS + 500)]
    fastest, slowest = latency_range_ms(latency_ms, 0.0)
    budget = fastest + 0.3 * (slowest - fastest)
    found = best_under_budget([np.array([0.0, 1.0])] * len(latency_ms), latency_ms, 0.0, budget, 0.95 * budget)
    assert 0.95 * budget <= sum(ms[choice] for ms, choice in zip(latency_ms, found)) <= budget
