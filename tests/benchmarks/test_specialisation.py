"""Who wins on a device: by its budget first, then by published accuracy."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import specialisation
from benchmarks.macro_bench import MacroBench, analytic_device
from benchmarks.specialisation import COLUMNS, Timed, measured_on, outcome

OWN = Timed(choices=(1, 2), budget_share=1.0, accuracy=90.0, accuracy_error=0.03)


def test_a_network_that_misses_the_budget_loses_however_accurate_it_is():
    too_slow = Timed(choices=(2, 2), budget_share=1.2, accuracy=99.0, accuracy_error=0.03)
    assert outcome(OWN, too_slow) == "wins"
    assert outcome(too_slow, OWN) == "loses"


def test_of_two_that_meet_the_budget_the_more_accurate_wins():
    fast_but_worse = Timed(choices=(0, 1), budget_share=0.5, accuracy=89.8, accuracy_error=0.03)
    assert outcome(OWN, fast_but_worse) == "wins"
    assert outcome(fast_but_worse, OWN) == "loses"


def test_a_difference_that_lies_within_the_noise_of_the_trainings_cannot_be_told():
    near = Timed(choices=(0, 1), budget_share=0.5, accuracy=89.9, accuracy_error=0.03)
    assert outcome(OWN, near) == outcome(near, OWN) == "cannot be told"
    uncertain = Timed(choices=(0, 1), budget_share=0.5, accuracy=89.0, accuracy_error=0.5)
    assert outcome(OWN, uncertain) == "cannot be told"


def test_the_noise_of_an_accuracy_is_that_of_its_own_three_trainings():
    trainings = np.array([[89.0, 90.0, 91.0], [90.0, 90.0, 90.0]])
    nothing = np.zeros(2)
    bench = MacroBench(
        choices=((0,), (1,)),
        trainings=trainings,
        parameter_count=nothing,
        latency_ms=nothing,
        target=analytic_device(),
    )
    assert bench.accuracy == pytest.approx([90.0, 90.0])
    assert bench.accuracy_error == pytest.approx([1 / 3**0.5, 0.0])


def test_what_cannot_be_told_is_neither_won_nor_lost_and_is_counted_apart(monkeypatch):
    near = dataclasses.replace(OWN, choices=(0, 1), accuracy=90.05)
    monkeypatch.setattr(specialisation, "timed", lambda column, networks: {"a": OWN, "b": near})
    columns = {"a": SimpleNamespace(budget_ms=1.0)}
    lost, _, gain = specialisation.matrix_claims("networks", columns, {"a": OWN.choices, "b": near.choices})
    assert (lost.value, lost.holds) == (0, True)
    assert "beaten 0, cannot be told 1, the same network 0; -0.05 points" in lost.note and "0.12 are noise" in lost.note
    assert "0 won, 1 cannot be told, 0 the same, 0 lost" in gain.note


def test_the_same_network_is_a_draw_even_where_it_is_too_slow():
    slow = Timed(choices=OWN.choices, budget_share=1.2, accuracy=90.0, accuracy_error=0.03)
    assert outcome(OWN, slow) == "draws"


def test_a_latency_that_repeats_within_two_per_cent_does_not_miss_the_budget():
    assert Timed(choices=(1,), budget_share=1.019, accuracy=1.0, accuracy_error=0.1).is_within
    assert not Timed(choices=(1,), budget_share=1.021, accuracy=1.0, accuracy_error=0.1).is_within


def test_every_column_is_a_device_of_its_own_with_a_folder_of_its_own():
    devices = [measured_on(*column) for column in COLUMNS]
    assert len({device.label for device in devices}) == len({device.folder for device in devices}) == len(COLUMNS)
    assert [device.device.runtime.thread_count for device in devices] == [column[1] for column in COLUMNS]


def test_a_device_that_could_not_time_its_own_network_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(specialisation, "timed", lambda column, own: {"b": OWN})
    columns = {"a": SimpleNamespace(budget_ms=1.0)}
    claim, _ = specialisation.matrix_claims("networks", columns, {"a": (0, 0), "b": OWN.choices})
    assert claim.value is None and not claim.holds and "slowed down" in claim.note


def test_accuracy_beyond_the_budget_is_no_lead(monkeypatch):
    own = Timed(choices=(2, 2), budget_share=1.05, accuracy=95.0, accuracy_error=0.03)
    monkeypatch.setattr(specialisation, "timed", lambda column, networks: {"a": own, "b": OWN})
    columns = {"a": SimpleNamespace(budget_ms=1.0)}
    lost, missed = specialisation.matrix_claims("networks", columns, {"a": own.choices, "b": OWN.choices})
    assert not lost.holds and "its own misses the budget" in lost.note
    assert (missed.value, missed.holds, missed.note) == (1, False, "a +5.0%")
