"""Which clocks speak of heat, and which fall on any device: pure, on made-up readings of two clusters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.clocks import SessionClocks, clock_complaint, clocks_of_facts

CORES = ((0, 1, 2, 3), (4, 5, 6, 7))
LITTLE, BIG, BOTH = "f", "f0", "ff"
FREE = (1_800_000, 2_400_000)


def clocks(*allowed, working=()):
    return SessionClocks(cluster_cores=CORES, allowed_khz=allowed or (FREE, FREE), working_khz=working)


def test_a_cap_that_falls_during_a_session_is_told_with_cores_clocks_and_limit():
    assert clock_complaint([clocks(FREE, (1_800_000, 1_747_200))], BIG) == (
        "cores 4, 5, 6, 7 were allowed 1.75 GHz at one time and 2.40 GHz at another (27% less; the limit is 10%)"
    )


def test_a_cap_below_that_of_an_earlier_session_is_told():
    low = (1_800_000, 1_747_200)
    assert "27% less" in clock_complaint([clocks(), clocks(low, low)], BIG)


def test_it_does_not_matter_which_session_was_the_capped_one():
    low = (1_800_000, 1_747_200)
    assert clock_complaint([clocks(low, low), clocks()], BIG) == clock_complaint([clocks(), clocks(low, low)], BIG)


@pytest.mark.parametrize(("share", "is_told"), [(1.0, False), (0.91, False), (0.90, False), (0.89, True)])
def test_a_tenth_is_the_limit(share, is_told):
    low = (1_000_000, round(1_000_000 * share))
    assert (clock_complaint([clocks((1_000_000,) * 2, low)], BIG) is not None) is is_told


def test_a_cap_that_is_low_from_the_first_session_on_is_a_setting_and_no_heat():
    low = (600_000, 800_000)
    assert clock_complaint([clocks(low, low), clocks(low, low)], BIG) is None


def test_only_clusters_in_use_count():
    little_falls = [clocks(FREE, (900_000, 2_400_000))]
    assert clock_complaint(little_falls, BIG) is None
    assert "cores 0, 1, 2, 3" in clock_complaint(little_falls, LITTLE)
    assert "cores 0, 1, 2, 3" in clock_complaint(little_falls, "8")
    assert "cores 0, 1, 2, 3" in clock_complaint(little_falls, BOTH)


@pytest.mark.parametrize("core_mask", [None, "300"])
def test_every_cluster_counts_where_the_cores_in_use_are_unknown(core_mask):
    assert "cores 0, 1, 2, 3" in clock_complaint([clocks(FREE, (900_000, 2_400_000))], core_mask)


def test_a_cluster_without_known_cores_is_told_by_its_number():
    nameless = SessionClocks(cluster_cores=((), ()), allowed_khz=(FREE, (1_800_000, 900_000)), working_khz=())
    assert clock_complaint([nameless], BIG).startswith("the cores of cluster 1 were allowed 0.90 GHz")


def test_a_clock_that_fell_while_the_work_ran_is_told_although_no_cap_was():
    first = clocks(working=((500_000, 2_400_000),))
    later = clocks(working=((500_000, 1_500_000), (1_800_000, 1_600_000)))
    assert clock_complaint([first, later], BIG).startswith("cores 4, 5, 6, 7 worked at 1.60 GHz at one time")


def test_one_reading_between_two_models_makes_no_fall():
    rested = clocks(working=((500_000, 2_400_000), (500_000, 300_000)))
    assert clock_complaint([clocks(working=((500_000, 2_400_000),)), rested], BIG) is None


@pytest.mark.parametrize("core_mask", [None, BOTH, "18"])
def test_working_clocks_say_nothing_where_the_work_may_have_run_on_another_cluster(core_mask):
    here, there = clocks(working=((300_000, 2_400_000),)), clocks(working=((1_800_000, 300_000),))
    assert clock_complaint([here, there], core_mask) is None


@given(
    st.lists(
        st.none() | st.builds(clocks, st.sampled_from([FREE, (None, None), (), (900_000,), (1, 2, 3)])), max_size=5
    ),
    st.sampled_from([None, LITTLE, BIG, BOTH]),
)
def test_what_a_device_does_not_tell_never_speaks_against_a_session(sessions, core_mask):
    assert clock_complaint(sessions, core_mask) is None


def test_sessions_on_other_clusters_are_not_compared():
    other = SessionClocks(cluster_cores=((0, 1),), allowed_khz=((100_000,),), working_khz=())
    assert clock_complaint([clocks(), other], None) is None


def test_facts_become_clocks_and_idle_frequencies_are_left_out():
    facts = {"max_frequencies_khz": [1_800_000, None], "frequencies_khz": [1, 2], "cluster_cores": [[0, 1], [2]]}
    after = {**facts, "max_frequencies_khz": [900_000, 0], "working_frequencies_khz": [[1_800_000, None]]}
    assert clocks_of_facts(facts, after) == SessionClocks(
        cluster_cores=((0, 1), (2,)),
        allowed_khz=((1_800_000, None), (900_000, None)),
        working_khz=((1_800_000, None),),
    )


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"max_frequencies_khz": None, "working_frequencies_khz": None, "cluster_cores": None},
        {"max_frequencies_khz": [], "working_frequencies_khz": 5, "cluster_cores": []},
    ],
)
def test_facts_without_clocks_are_none(facts):
    assert clocks_of_facts(facts, facts) is None
