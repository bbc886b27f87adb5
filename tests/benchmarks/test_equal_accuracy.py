"""At which latency a hand-made network is as accurate as a derived one, and how far ahead that one is at its own."""

import math

import pytest

from benchmarks.equal_accuracy import Result, accuracy_at, contest_claims, latency_for


def result(family: str, name: str, latency_ms: float, *accuracies: float) -> Result:
    return Result(family=family, name=name, latency_ms=latency_ms, accuracies=accuracies)


LADDER = [
    result("mobilenetv2-like", "narrow", 1.0, 69.0, 71.0),
    result("mobilenetv2-like", "middle", 2.0, 73.0, 75.0),
    result("mobilenetv2-like", "wide", 4.0, 74.0, 74.0),
]


def claims(*others: Result, ladder=LADDER):
    found = contest_claims([result("derived", "derived0", 1.0, 72.0, 72.0), *ladder, *others], "note")
    return {claim.claim.partition(",")[0]: claim for claim in found}


def test_between_two_networks_accuracy_is_linear_in_the_logarithm_of_latency():
    assert latency_for(72.0, LADDER) == pytest.approx(math.sqrt(2))
    assert accuracy_at(math.sqrt(2), LADDER, seed=0) == pytest.approx(71.0)
    assert accuracy_at(math.sqrt(2), LADDER, seed=1) == pytest.approx(73.0)


def test_the_first_network_that_is_accurate_enough_counts_even_where_a_slower_one_is_not():
    assert latency_for(74.0, LADDER) == pytest.approx(2.0)


def test_the_speed_up_is_that_latency_over_the_derived_networks():
    claim = claims()["latency of a MobileNetV2-like network as accurate as the derived one"]
    assert claim.value == pytest.approx(math.sqrt(2)) and not claim.holds
    assert "at most" not in claim.note and "at least" not in claim.note


@pytest.mark.parametrize(
    ("accuracy", "ratio", "words"), [(60.0, 1.0, "derived0: at most"), (80.0, 4.0, "derived0: at least")]
)
def test_beyond_the_hand_made_networks_the_speed_up_is_a_bound_and_is_called_one(accuracy, ratio, words):
    derived = result("derived", "derived0", 1.0, accuracy, accuracy)
    claim = next(contest_claims([derived, *LADDER], "note"))
    assert claim.value == ratio and words in claim.note


def test_the_lead_at_equal_latency_has_the_error_of_both_trainings():
    claim = claims()["lead over MobileNetV2-like networks of the same latency"]
    assert claim.value == pytest.approx(2.0)
    assert claim.aim == "> its standard error, 1.00"  # leads of 3 and 1 points


def test_of_other_blocks_the_best_is_the_one_to_beat():
    found = claims(result("k5-e6", "k5-e6", 1.0, 71.0, 72.0), result("k7-e3", "k7-e3", 1.0, 60.0, 60.0))
    assert found["lead over the best of the networks of one other block at the budget"].value == pytest.approx(0.5)


def test_each_random_network_is_one_draw_of_the_error():
    found = claims(result("random", "random0", 1.0, 70.0), result("random", "random1", 1.0, 71.0))
    claim = found["lead over random networks at the budget"]
    assert claim.value == pytest.approx(1.5) and claim.aim == "> its standard error, 0.50"
