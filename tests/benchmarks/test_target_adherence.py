"""Where searches landed is judged at the default share of the budget and closely under it; above it nothing holds."""

from __future__ import annotations

from benchmarks.target_adherence import Landing, landing_claims


def landing(derived, derived_closely):
    return Landing(derived=derived, derived_closely=derived_closely, argmax=1.2, argmax_distance=0.2)


def test_the_default_may_leave_five_per_cent_and_the_close_one_a_single_one():
    default, close, _ = landing_claims("searches", [landing(0.96, 0.992), landing(1.0, 0.985)])
    assert default.holds and default.spread == (0.0, 1 - 0.96)
    assert not close.holds and close.aim == "<= 0.01"


def test_one_network_above_its_target_is_enough_to_fall_short():
    default, close, _ = landing_claims("searches", [landing(0.99, 0.999), landing(1.001, 0.995)])
    assert not default.holds and "1 above its target: 1.001" in default.note
    assert close.holds


def test_where_the_search_itself_settled_is_judged_apart_from_what_derivation_makes_of_it():
    *_, settled = landing_claims("searches", [landing(1.0, 1.0)])
    assert (settled.value, settled.aim, settled.holds) == (0.2, "<= 0.01", False)
