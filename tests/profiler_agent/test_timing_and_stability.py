"""Raw timings refuse nonsense; statistics on them are pure."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler_agent.clocks import SessionClocks
from profiler_agent.device import RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentOutputError
from profiler_agent.load import SessionLoad
from profiler_agent.stability import judge_timing, session_canary_ms, session_ms
from profiler_agent.timing import SessionSamples, Timing, timing_from_json, timing_to_json

PLAN = TimingPlan()


def session(
    *samples_ms: float,
    switches: tuple[int | None, ...] | None = None,
    canary_ms: float = 0.1,
    pace: tuple[float, ...] | None = None,
):
    return SessionSamples(
        samples_ms=samples_ms,
        runs_per_burst=3,
        involuntary_switches=switches or (0,) * len(samples_ms),
        canary_ms=(canary_ms,) * len(samples_ms),
        pace=pace,
    )


def timing(*sessions: SessionSamples, thread_count: int = 1, core_mask: str | None = None) -> Timing:
    return Timing(
        model_id="m",
        sessions=sessions,
        facts_before={"load_1min": 0.5},
        facts_after={"temperature_mc": None},
        thread_count=thread_count,
        core_mask=core_mask,
    )


CLOCKS = SessionClocks(
    cluster_cores=((0, 1, 2, 3), (4, 5, 6, 7)),
    allowed_khz=((1_800_000, 2_400_000), (1_800_000, 2_400_000)),
    working_khz=((600_000, 2_400_000), (None, 2_300_000)),
)


def sessions_with(*clocks: SessionClocks | None) -> list[SessionSamples]:
    return [replace(session(1.0), clocks=item) for item in clocks]


times_ms = st.floats(min_value=1e-6, max_value=3.6e6)


@given(st.lists(st.tuples(times_ms, st.none() | st.integers(0, 9)), min_size=1, max_size=6), st.integers(1, 9))
def test_a_timing_reads_back_as_it_was_written(rounds, runs):
    samples = SessionSamples(
        samples_ms=tuple(sample for sample, _ in rounds),
        runs_per_burst=runs,
        involuntary_switches=tuple(count for _, count in rounds),
        canary_ms=(),
    )
    assert timing_from_json(timing_to_json(timing(samples))) == timing(samples)


def test_a_core_mask_may_name_any_core_of_a_large_server():
    core_200 = "1" + "0" * 50
    assert RuntimeOptions(name="litert", core_mask=core_200).core_mask == core_200
    assert timing(session(1.0), core_mask=core_200).core_mask == core_200


def test_clocks_load_pace_and_core_mask_read_back_as_they_were_written():
    load = SessionLoad(pressure_percent=None, others_percent=12.5)
    whole = timing(replace(session(1.0, pace=(1.25,)), clocks=CLOCKS, load=load), core_mask="f0")
    assert timing_from_json(json.loads(json.dumps(timing_to_json(whole)))) == whole


def test_a_timing_of_an_earlier_schema_is_read_without_what_it_did_not_have():
    data = timing_to_json(timing(session(1.0)))
    del data["sessions"][0]["pace"]
    assert timing_from_json({**data, "schema": 3}) == timing(session(1.0))
    del data["sessions"][0]["load"]
    assert timing_from_json({**data, "schema": 2}) == timing(session(1.0))
    del data["core_mask"], data["sessions"][0]["clocks"]
    assert timing_from_json({**data, "schema": 1}) == timing(session(1.0))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), 1e9, True, "1"])
def test_a_sample_that_no_clock_could_give_is_refused(bad):
    with pytest.raises(AgentOutputError, match="finite number of ms"):
        session(1.0, bad)


def test_a_timing_without_sessions_is_refused():
    with pytest.raises(AgentOutputError, match="at least one session"):
        timing()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 5}, "reads 1, 2, 3, 4"),
        ({"schema": 1}, "'core_mask' is unknown"),
        ({"core_mask": "big"}, "core_mask is 'big'"),
        ({"extra": 1}, "'extra' is unknown or missing"),
        ({"model_id": 3}, "model_id is 3"),
        ({"sessions": [{}]}, "unknown or missing"),
        ({"sessions": []}, "at least one session"),
    ],
)
def test_a_timing_of_another_form_is_refused(change, words):
    with pytest.raises(AgentOutputError, match=words):
        timing_from_json({**timing_to_json(timing(session(1.0))), **change})


@pytest.mark.parametrize(
    "clocks",
    [
        [],
        {"allowed_khz": []},
        {"cluster_cores": [[0]], "allowed_khz": [[1.5]], "working_khz": []},
        {"cluster_cores": [[0]], "allowed_khz": [[-1]], "working_khz": []},
        {"cluster_cores": [0], "allowed_khz": [], "working_khz": []},
    ],
)
def test_clocks_of_another_form_are_refused(clocks):
    data = timing_to_json(timing(session(1.0)))
    data["sessions"][0]["clocks"] = clocks
    with pytest.raises(AgentOutputError, match="clocks are"):
        timing_from_json(data)


@pytest.mark.parametrize("pace", [(0.0,), (-1.0,), (float("nan"),), (float("inf"),), (True,), ("1",), (1.0, 1.0), ()])
def test_a_pace_that_no_device_has_is_refused(pace):
    with pytest.raises(AgentOutputError, match="pace"):
        session(1.0, pace=pace)


def test_the_low_quantile_prefers_rounds_that_were_not_preempted():
    preempted = session(0.5, 2.0, 2.0, 2.0, switches=(1, 0, 0, 0))
    assert session_ms(preempted, PLAN) == 2.0


def test_the_low_quantile_uses_all_rounds_when_too_few_were_undisturbed():
    preempted = session(1.0, 2.0, 2.0, switches=(1, 0, 0))
    assert session_ms(preempted, replace(PLAN, low_quantile=0.1)) == pytest.approx(1.2)


def test_unreadable_switch_counts_are_not_taken_for_zero():
    assert session_ms(session(1.0, 1.0, 1.0, 9.0, switches=(None, None, None, 0)), PLAN) == 1.0


def test_samples_are_brought_to_the_pace_of_their_round():
    slowing = session(1.0, 1.2, 1.3, 1.3, pace=(1.0, 1.2, 1.3, 1.0))
    assert session_ms(slowing, PLAN) == pytest.approx(1.0)
    assert session_canary_ms(replace(slowing, canary_ms=(0.1, 0.12, 0.13, 0.1)), PLAN) == pytest.approx(0.1)


def test_a_preempted_round_does_not_count_at_its_pace_either():
    preempted = session(1.0, 9.0, 1.0, 1.0, 9.0, switches=(0, 1, 0, 0, 1), pace=(1.0,) * 5)
    assert session_ms(preempted, PLAN) == 1.0


def test_sessions_that_differ_by_the_devices_pace_alone_agree():
    sessions = [session(pace, pace, pace, pace=(pace,) * 3) for pace in (1.0, 1.08, 1.04)]
    report = judge_timing(timing(*sessions), PLAN)
    assert (report.verdict, report.latency_ms) == ("accepted", pytest.approx(1.0))
    assert report.canary_drift == pytest.approx(0.08)
    assert judge_timing(timing(*(replace(one, pace=None) for one in sessions)), PLAN).verdict == "noisy"


def test_a_device_that_slowed_too_far_is_not_corrected_but_throttled():
    sessions = [session(pace, pace, pace, pace=(pace,) * 3) for pace in (1.0, 1.2, 1.0)]
    report = judge_timing(timing(*sessions), PLAN)
    assert (report.verdict, report.reason) == (
        "throttled",
        "all models took 20% longer in one session than in another",
    )


def test_a_session_of_a_throttled_device_does_not_count_once_three_others_are_there():
    quick = [session(1.01, pace=(1.0,)) for _ in range(3)]
    throttled = session(1.2, pace=(1.3,))
    assert judge_timing(timing(throttled, *quick), PLAN) == judge_timing(timing(*quick), PLAN)


def test_one_moment_of_a_faster_clock_does_not_make_all_others_throttled():
    usual = [session(ms, pace=(1.0,)) for ms in (1.0, 1.01, 1.02)]
    report = judge_timing(timing(session(0.7, pace=(0.8,)), *usual), PLAN)
    assert (report.verdict, report.latency_ms) == ("accepted", 1.01)


def test_all_sessions_at_one_pace_count_in_the_figure_and_the_fastest_in_the_verdict():
    sessions = [session(ms, pace=(1.0,)) for ms in (1.0, 1.01, 1.02, 1.05, 1.06)]
    report = judge_timing(timing(*sessions), PLAN)
    assert (report.verdict, report.latency_ms, report.spread) == ("accepted", 1.02, pytest.approx(0.02))


def test_agreeing_sessions_are_accepted_at_their_median_low_quantile():
    report = judge_timing(timing(session(1.0), session(1.01), session(1.02)), PLAN)
    assert report.verdict == "accepted"
    assert report.latency_ms == 1.01
    assert report.spread == pytest.approx(0.02)


def test_a_slow_session_is_kept_but_does_not_count_once_three_fast_ones_agree():
    report = judge_timing(timing(session(9.0), session(1.0), session(1.0), session(1.0)), PLAN)
    assert report.verdict == "accepted"
    assert report.median_ms == 1.0


def test_sessions_that_disagree_are_noisy():
    assert judge_timing(timing(session(1.0), session(1.1), session(1.0)), PLAN).verdict == "noisy"


def test_fewer_sessions_than_planned_are_noisy_however_equal():
    assert judge_timing(timing(session(1.0), session(1.0)), PLAN).verdict == "noisy"


def test_a_canary_that_slows_makes_a_throttled_verdict():
    report = judge_timing(timing(session(1.0), session(1.0), session(1.0, canary_ms=0.12)), PLAN)
    assert report.canary_drift == pytest.approx(0.2)
    assert report.verdict == "throttled"
    assert report.reason == "the canary model took 20% longer in one session than in another"


def test_a_session_that_counts_and_ran_at_a_capped_clock_makes_a_throttled_verdict():
    capped = replace(CLOCKS, allowed_khz=((1_800_000, 1_700_000),) * 2)
    report = judge_timing(timing(*sessions_with(CLOCKS, CLOCKS, capped), core_mask="f0"), PLAN)
    assert report.verdict == "throttled"
    assert report.reason is not None
    assert "cores 4, 5, 6, 7 were allowed 1.70 GHz at one time and 2.40 GHz at another (29% less" in report.reason


def test_a_capped_session_that_was_slower_does_not_count():
    capped = replace(CLOCKS, allowed_khz=((1_800_000, 1_700_000),) * 2)
    slow = replace(session(1.4), clocks=capped)
    report = judge_timing(timing(slow, *sessions_with(CLOCKS, CLOCKS, CLOCKS)), PLAN)
    assert (report.verdict, report.reason) == ("accepted", None)


def test_clocks_that_no_session_tells_speak_against_nothing():
    assert judge_timing(timing(*sessions_with(None, None, None), core_mask="f0"), PLAN).verdict == "accepted"


def test_several_threads_that_were_preempted_are_never_accepted():
    crowded = session(1.0, 1.0, 1.0, 1.0, switches=(1, 0, 0, 0))
    calm = replace(crowded, involuntary_switches=(0, 0, 0, 0))
    assert judge_timing(timing(crowded, crowded, crowded, thread_count=2), PLAN).verdict == "noisy"
    assert judge_timing(timing(calm, calm, calm, thread_count=2), PLAN).verdict == "accepted"
    assert judge_timing(timing(crowded, crowded, crowded), PLAN).verdict == "accepted"


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ({}, "noisy", "does not tell its load"),
        ({"cpu_pressure_percent": 40.0}, "noisy", "pressure was 40 %"),
        ({"cpu_pressure_percent": 1.0}, "accepted", None),
        ({"cpu_pressure_percent": None, "cpu_ticks": [0] * 8}, "accepted", None),
    ],
)
def test_several_threads_whose_preemptions_nobody_counted_are_judged_by_the_devices_load(facts, verdict, words):
    uncounted = session(1.0, 1.0, 1.0, switches=(None, None, None))
    report = judge_timing(replace(timing(*[uncounted] * 3, thread_count=2), facts_after=facts), PLAN)
    assert report.verdict == verdict
    assert report.reason is None if words is None else words in report.reason
    assert judge_timing(timing(*[uncounted] * 3), PLAN).verdict == "accepted"
