"""The exact best choice under a budget, held against trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from search.budget import GRID_STEPS, best_under_budget, latency_range_ms
from search.errors import TargetError


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
