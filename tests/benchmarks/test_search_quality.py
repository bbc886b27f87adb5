"""Random search with full training is computed, not run; what was derived is judged beside it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from benchmarks import search_quality_claims
from benchmarks.macro_bench import MacroBench, analytic_device
from benchmarks.search_alternatives import expected_best, trainings_to_equal
from benchmarks.search_quality import FULL, PUBLISHED_TRAINING_IMAGES, search_trainings
from benchmarks.search_quality_claims import (
    Found,
    measured_claims,
    one_training_fact,
    quality_claims,
    targets_of,
    trainings_for,
)
from search.settings import SearchSettings

CHOICES = tuple(itertools.product(range(3), repeat=8))


@pytest.fixture(scope="module")
def bench() -> MacroBench:
    """Accuracies that anybody can check: the row's number over 100."""
    device, rows = analytic_device(), np.arange(len(CHOICES))
    return MacroBench(
        choices=CHOICES,
        trainings=np.stack([rows / 100] * 3, axis=1),
        parameter_count=rows.astype(float),
        latency_ms=np.array([device.network_ms(one) for one in CHOICES]),
        target=device,
    )


def found(bench: MacroBench, *, rank: int, trainings: float = 0.2) -> Found:
    """A seed whose search finds the network of this rank among those near each budget, all others the worst one."""
    by_accuracy = {
        target.name: sorted(bench.near(target.target_ms), key=lambda row: -bench.accuracy[row])
        for target in targets_of(bench)
    }
    worst = {name: CHOICES[rows[-1]] for name, rows in by_accuracy.items()}
    return Found(
        derived={name: CHOICES[rows[rank]] for name, rows in by_accuracy.items()},
        argmax=worst,
        uniform=worst,
        uniform_smoothed=worst,
        evolved=worst,
        passes=17.0,
        trainings=trainings,
        search_minutes=1.0,
        derive_minutes=1.0,
        commits=frozenset({"abc"}),
    )


def test_choosing_by_one_training_is_judged_by_the_others(bench: MacroBench):
    """Where trainings agree nothing is lost; where one of three is turned around, it chooses the worst, and they it."""
    assert one_training_fact(bench).value == pytest.approx(0.0)
    turned = bench.trainings.copy()
    turned[:, 0] = turned[::-1, 0]
    fooled = dataclasses.replace(bench, trainings=turned)
    losses = []
    for target in targets_of(fooled):
        rows = turned[fooled.within(target.target_ms)]
        for one in range(3):
            others = rows[:, [k for k in range(3) if k != one]].mean(axis=1)
            losses.append(others.max() - others[rows[:, one].argmax()])
    assert one_training_fact(fooled).value == pytest.approx(np.mean(losses))
    assert one_training_fact(fooled).value > 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_draws(count: int):
    accuracy = np.array([90.0, 92.5, 91.0, 88.0, 92.0])
    every_draw = [max(draw) for draw in itertools.combinations(accuracy, count)]
    assert expected_best(accuracy, count) == pytest.approx(np.mean(every_draw))


def test_more_trainings_than_there_are_networks_train_them_all():
    assert expected_best(np.array([90.0, 91.0]), 7) == pytest.approx(91.0)


def test_the_best_of_no_network_is_an_error():
    with pytest.raises(ValueError, match="0 of 2 networks"):
        expected_best(np.array([90.0, 91.0]), 0)


def test_random_search_is_as_good_as_the_mean_with_one_training_and_as_the_best_with_all():
    budgets = [np.array([90.0, 92.0]), np.array([91.0, 93.0, 95.0])]
    assert trainings_to_equal(budgets, 92.0) == 1
    assert trainings_to_equal(budgets, 92.5) == 2
    assert trainings_to_equal(budgets, 99.0) == 3


def test_what_random_search_may_train_costs_no_less_than_ours():
    settings = SearchSettings(warmup_steps=100, search_steps=100, derive_candidates=10, derive_images=300)
    images = 200 * 64 + 25 * 256 * 0.8
    cost = search_trainings(settings, image_count=9000, target_count=3)
    assert cost == pytest.approx((images + 3 * 10 * 300 / 3) / PUBLISHED_TRAINING_IMAGES)
    assert FULL.image_count < 50_000


def test_random_search_is_a_row_with_the_trainings_that_ours_costs_at_least(bench: MacroBench):
    one = found(bench, rank=0, trainings=1.2)
    assert trainings_for(one) == 3
    claims = {claim.claim: claim for claim in quality_claims(bench, [one], "note")}
    lead = claims["lead over: random search with 3 full trainings"]
    leads = [
        (bench.accuracy[near].max() - expected_best(bench.accuracy[near], 3))
        for near in (bench.near(target.target_ms) for target in targets_of(bench))
    ]
    assert lead.value == pytest.approx(np.mean(leads)) and lead.holds


def test_a_search_that_finds_poor_networks_falls_short_of_random_search(bench: MacroBench):
    claims = {claim.claim: claim for claim in quality_claims(bench, [found(bench, rank=-1)], "note")}
    assert not claims["lead over: random search with 2 full trainings"].holds
    equal = claims["full trainings with which random search is as good, mean of the budgets"]
    assert (equal.value, equal.holds) == (1, None)


def test_accuracies_of_everybody_stand_in_one_fact(bench: MacroBench):
    claims = {claim.claim: claim for claim in quality_claims(bench, [found(bench, rank=0)], "note")}
    accuracy = claims["published accuracy of the derived networks, mean of the budgets"]
    assert accuracy.holds is None
    for name in ("evolution on a uniform supernet", "random search with 2 full trainings", "best within the budget"):
        assert name in str(accuracy.note)


def test_one_network_far_over_its_budget_is_not_averaged_away(bench: MacroBench, monkeypatch: pytest.MonkeyPatch):
    one = found(bench, rank=0)
    slow = one.derived[targets_of(bench)[0].name]

    def measured(_device: object, wanted: list[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        latency_ms = {choices: float(bench.latency_ms[bench.row(choices)]) for choices in wanted}
        return {choices: ms * (1.2 if choices == slow else 0.8) for choices, ms in latency_ms.items()}

    monkeypatch.setattr(search_quality_claims, "measure_networks", measured)
    *_, over = measured_claims(bench, [one, dataclasses.replace(one)], object())
    assert (over.value, over.unit, over.holds) == (2, "of 6", False)
