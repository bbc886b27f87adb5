"""When a device is waited for, when it is refused, and which models get another session."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from profiler_agent.agent_run import JobResult
from profiler_agent.bundle import DeviceFile
from profiler_agent.device import TimingPlan, load_device
from profiler_agent.errors import DeviceTooBusy, DeviceTooHot
from profiler_agent.readiness import complaint, wait_until_ready
from profiler_agent.runner import Batch, Refused, one_process_s
from profiler_agent.runners.benchmark_model import BenchmarkModelHostRunner
from profiler_agent.runners.native import NativeHostRunner
from profiler_agent.runners.python import PythonHostRunner
from profiler_agent.schedule import MODELS_PER_JOB, BatchSchedule, mixed_parts, reason_of
from profiler_agent.timing import SessionSamples

CONFIGS = Path(__file__).parents[2] / "device_configs"
PLAN = TimingPlan(session_count=2, max_sessions=4)
DONE = JobResult(id="j", return_code=0, hit_limit=False, output=b"", stderr="")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def two_threads(local_device):
    return replace(local_device, runtime=replace(local_device.runtime, thread_count=2))


def test_a_hot_device_is_waited_for_until_it_is_cool(local_device):
    device = replace(local_device, guard=replace(local_device.guard, max_start_temperature_c=45.0, wait_limit_s=60.0))
    clock = Clock()
    readings_mc = iter([60_000, 50_000, 44_000])
    wait_until_ready(device, lambda: {"temperature_mc": next(readings_mc)}, clock_s=clock, sleep=clock.sleep)
    assert clock.now_s > 0


def test_a_device_that_stays_hot_is_refused_with_the_limit_and_the_mend(local_device):
    device = replace(local_device, guard=replace(local_device.guard, max_start_temperature_c=45.0))
    clock = Clock()
    with pytest.raises(DeviceTooHot, match=r"is at 60 C; a run starts below 45 C.*max_start_temperature_c"):
        wait_until_ready(device, lambda: {"temperature_mc": 60_000}, clock_s=clock, sleep=clock.sleep)
    assert clock.now_s <= device.guard.wait_limit_s


def test_a_phone_that_says_it_is_throttled_is_not_timed(local_device):
    assert isinstance(complaint(local_device, {"thermal_status": 2}), DeviceTooHot)
    assert complaint(local_device, {"thermal_status": 0}) is None


def test_several_threads_wait_for_an_idle_machine_and_one_thread_does_not(local_device, two_threads):
    busy = {"cpu_pressure_percent": 40.0}
    assert isinstance(complaint(two_threads, busy), DeviceTooBusy)
    assert complaint(local_device, busy) is None


def test_what_a_device_does_not_tell_speaks_against_nothing_with_one_thread(local_device):
    unknown = {"temperature_mc": None, "thermal_status": None, "cpu_pressure_percent": None}
    assert complaint(local_device, unknown) is None


def test_several_threads_are_refused_at_once_where_the_device_does_not_tell_its_load(two_threads):
    clock = Clock()
    unknown = {"cpu_pressure_percent": None, "cpu_ticks": None, "load_1min": 0.0}
    with pytest.raises(DeviceTooBusy, match=r"does not tell how busy it is.*thread_count: 1"):
        wait_until_ready(two_threads, lambda: unknown, clock_s=clock, sleep=clock.sleep)
    assert clock.now_s == 0.0


def ticks(*, busy: int, idle: int) -> dict:
    return {"cpu_pressure_percent": None, "cpu_ticks": [busy, 0, 0, idle, 0, 0, 0, 0]}


def test_without_a_pressure_the_busy_share_of_the_cpu_time_counts(two_threads):
    clock = Clock()
    busy_then_idle = iter([ticks(busy=0, idle=0), ticks(busy=800, idle=0), ticks(busy=820, idle=780)])
    wait_until_ready(two_threads, lambda: next(busy_then_idle), clock_s=clock, sleep=clock.sleep)
    assert clock.now_s > 2.0


def test_a_device_without_a_pressure_that_stays_busy_is_refused(two_threads):
    clock = Clock()
    always_busy = (ticks(busy=8 * n, idle=2 * n) for n in range(1000))
    with pytest.raises(DeviceTooBusy, match="its CPUs busy for 80 % of the time"):
        wait_until_ready(two_threads, lambda: next(always_busy), clock_s=clock, sleep=clock.sleep)
    assert clock.now_s <= two_threads.guard.wait_limit_s


def test_who_knows_that_nothing_else_runs_may_time_several_threads_ungated(two_threads):
    device = replace(two_threads, guard=replace(two_threads.guard, max_cpu_pressure_percent=100.0))
    assert complaint(device, {"cpu_pressure_percent": None}) is None


def samples(low_ms: float, canary_ms: float = 0.1) -> SessionSamples:
    return SessionSamples(
        samples_ms=(low_ms,) * 3, runs_per_burst=1, involuntary_switches=(0, 0, 0), canary_ms=(canary_ms,) * 3
    )


def run_all(schedule: BatchSchedule, latency_of) -> int:
    """Do what the schedule asks until it asks for nothing; returns the number of jobs."""
    jobs = 0
    while groups := schedule.next_groups():
        for group in groups:
            jobs += 1
            schedule.succeeded(group, [samples(latency_of(m, jobs)) for m in group.model_ids], DONE)
    return jobs


def test_models_that_agree_need_no_more_than_the_planned_sessions():
    schedule = BatchSchedule(("a", "b"), PLAN, thread_count=1)
    assert run_all(schedule, lambda model_id, job: 1.0) == 2
    assert schedule.is_settled("a")


def test_only_the_model_that_disagrees_gets_more_sessions():
    schedule = BatchSchedule(("calm", "wild"), PLAN, thread_count=1)
    latencies_ms = {1: 1.0, 2: 1.5, 3: 1.01}
    run_all(schedule, lambda model_id, job: 1.0 if model_id == "calm" else latencies_ms[job])
    assert len(schedule.sessions["calm"]) == 2
    assert len(schedule.sessions["wild"]) == 3


def test_a_model_that_never_agrees_ends_at_the_largest_number_of_sessions():
    schedule = BatchSchedule(("wild",), PLAN, thread_count=1)
    run_all(schedule, lambda model_id, job: 1.0 + 0.5 * job)
    assert len(schedule.timing("wild").sessions) == 4


def at_pace(group, pace: float, wild: dict[str, float]) -> list[SessionSamples]:
    """A job whose models take as long as the device's pace says, the wild ones longer."""
    return [samples(pace * wild.get(model_id, 1.0), canary_ms=0.1 * pace) for model_id in group.model_ids]


def test_sessions_of_a_device_whose_pace_wanders_agree_where_many_models_tell_it():
    ids = tuple("abcdefgh")
    schedule = BatchSchedule(ids, PLAN, thread_count=1)
    for group, pace in zip(schedule.next_groups(), (1.0, 1.08), strict=True):
        schedule.succeeded(group, at_pace(group, pace, {}), DONE)
    assert all(schedule.is_settled(model_id) for model_id in ids)
    assert [session.pace for session in schedule.timing("a").sessions] == [(1.0,) * 3, pytest.approx((1.08,) * 3)]


def test_the_pace_does_not_excuse_several_threads():
    ids = tuple("abcdefgh")
    schedule = BatchSchedule(ids, PLAN, thread_count=2)
    for group, pace in zip(schedule.next_groups(), (1.0, 1.08), strict=True):
        schedule.succeeded(group, at_pace(group, pace, {}), DONE)
    assert {session.pace for session in schedule.timing("a").sessions} == {None}
    assert not schedule.is_settled("a")
    alone = BatchSchedule(("net",), PLAN, thread_count=2, company=tuple("abcd"))
    assert [group.model_ids for group in alone.next_groups()] == [("net",)] * 2


def test_a_few_unsettled_models_get_settled_ones_for_company_that_take_nothing_from_it():
    ids = tuple("abcdefgh")
    schedule = BatchSchedule(ids, PLAN, thread_count=1)
    for group, factor in zip(schedule.next_groups(), (1.0, 1.5), strict=True):
        schedule.succeeded(group, at_pace(group, 1.0, {"h": factor}), DONE)
    (group,) = schedule.next_groups()
    assert group.model_ids == ("h", "a", "b", "c", "d")
    schedule.succeeded(group, at_pace(group, 1.08, {"h": 1.0, "a": 3.0}), DONE)
    assert schedule.is_settled("h")
    assert schedule.timing("h").sessions[2].pace == pytest.approx((1.08,) * 3)
    assert len(schedule.sessions["a"]) == 2
    assert not schedule.has_unsettled


@pytest.mark.parametrize("culprit", [None, 1])
def test_company_that_fails_is_left_out_and_never_blamed(culprit):
    ids = tuple("abcdefgh")
    schedule = BatchSchedule(ids, PLAN, thread_count=1)
    for group, factor in zip(schedule.next_groups(), (1.0, 1.5), strict=True):
        schedule.succeeded(group, at_pace(group, 1.0, {"h": factor}), DONE)
    (group,) = schedule.next_groups()
    schedule.failed(group, culprit, "it crashed")
    (next_group,) = schedule.next_groups()
    assert next_group.model_ids == ("h", "e", "f", "g")
    schedule.succeeded(next_group, [samples(1.0)] * 4, DONE)
    assert (schedule.failures, schedule.next_groups()) == ({}, [])


def test_company_that_is_refused_is_left_out_and_never_blamed():
    schedule = BatchSchedule(("net",), PLAN, thread_count=1, company=("c0", "c1", "c2", "c3", "c4"))
    first, second = schedule.next_groups()
    assert first.model_ids == second.model_ids == ("net", "c0", "c1", "c2", "c3")
    for group, ms in ((first, 1.0), (second, 1.5)):
        refused = [Refused(reason="no") if model_id == "c1" else samples(ms) for model_id in group.model_ids]
        schedule.succeeded(group, refused, DONE)
    (third,) = schedule.next_groups()
    assert third.model_ids == ("net", "c0", "c2", "c3", "c4")
    assert schedule.failures == {}


def test_a_model_that_fails_in_company_is_tried_alone():
    schedule = BatchSchedule(tuple("abcdefgh"), PLAN, thread_count=1)
    for group, factor in zip(schedule.next_groups(), (1.0, 1.5), strict=True):
        schedule.succeeded(group, at_pace(group, 1.0, {"h": factor}), DONE)
    (group,) = schedule.next_groups()
    schedule.failed(group, 0, "it crashed")
    assert schedule.next_groups()[0].model_ids == ("h",)


def test_a_job_that_does_not_tell_its_culprit_is_halved_until_it_is_found():
    schedule = BatchSchedule(tuple("abcdefgh"), PLAN, thread_count=1)
    while groups := schedule.next_groups():
        for group in groups:
            if "f" in group.model_ids:
                schedule.failed(group, None, "it crashed")
            else:
                schedule.succeeded(group, [samples(1.0)] * len(group.model_ids), DONE)
    assert schedule.failures == {"f": "it crashed"}
    assert all(schedule.is_settled(model_id) for model_id in "abcdegh")


def test_a_named_culprit_is_tried_alone_before_it_is_given_up():
    schedule = BatchSchedule(("a", "b"), PLAN, thread_count=1)
    first = schedule.next_groups()
    for group in first:
        schedule.failed(group, 1, "it crashed")
    alone = [group.model_ids for group in schedule.next_groups()]
    assert alone[0] == ("b",)
    assert all(ids == ("a",) for ids in alone[1:])


def test_many_models_share_one_run_session_by_session():
    ids = tuple(f"m{index}" for index in range(3 * MODELS_PER_JOB))
    schedule = BatchSchedule(ids, PLAN, thread_count=1)
    groups = schedule.next_groups()
    assert len(groups) == 6
    assert {m for group in groups[:3] for m in group.model_ids} == set(ids)
    assert {m for group in groups[3:] for m in group.model_ids} == set(ids)
    assert max(len(group.model_ids) for group in groups) <= MODELS_PER_JOB


def test_neighbours_are_timed_by_different_processes():
    first, second, third = mixed_parts([str(index) for index in range(3 * MODELS_PER_JOB)])
    assert (first[:2], second[:2], third[:2]) == (("0", "3"), ("1", "4"), ("2", "5"))
    assert mixed_parts([]) == []


def test_each_turn_mixes_the_jobs_anew():
    ids = [str(index) for index in range(3 * MODELS_PER_JOB - 5)]
    turns = [mixed_parts(ids, turn=turn) for turn in range(3)]
    for turn in turns:
        assert sorted(m for part in turn for m in part) == sorted(ids)
        assert max(map(len, turn)) - min(map(len, turn)) <= 2
    for one in turns[0]:
        for other in (*turns[1], *turns[2]):
            assert 10 < len(set(one) & set(other)) < 22


def test_a_run_lasts_about_a_minute_and_the_next_ones_do_the_rest():
    plan = replace(PLAN, round_count=100, burst_ms=10.0)
    schedule = BatchSchedule(tuple(f"m{index}" for index in range(5 * MODELS_PER_JOB)), plan, thread_count=1)
    first = schedule.next_groups()
    assert sum(one_process_s(plan, len(group.model_ids)) for group in first) < 61
    for group in first:
        schedule.succeeded(group, [samples(1.0)] * len(group.model_ids), DONE)
    assert run_all(schedule, lambda model_id, job: 1.0) == 10 - len(first)
    assert all(len(sessions) == 2 for sessions in schedule.sessions.values())


def test_a_suspect_that_found_no_room_in_a_run_is_in_the_next():
    plan = replace(PLAN, round_count=1000, burst_ms=100.0)
    schedule = BatchSchedule(tuple("abcd"), plan, thread_count=1)
    (whole,) = schedule.next_groups()
    schedule.failed(whole, None, "it crashed")
    assert [group.model_ids for group in schedule.next_groups()] == [("a", "b")]
    assert [group.model_ids for group in schedule.next_groups()] == [("c", "d")]


@pytest.mark.parametrize("runner", [PythonHostRunner, NativeHostRunner])
@pytest.mark.parametrize("plan", [TimingPlan(rest_ms=3000.0), TimingPlan(burst_ms=400.0, round_count=100)])
def test_a_plan_with_long_rests_or_bursts_does_not_run_into_the_agents_limit(local_device, runner, plan):
    paths = tuple(f"m{index}" for index in range(9))
    batch = Batch(model_paths=paths, model_ids=paths, seed=0, plan=plan, model_limit_s=1.0)
    takes_s = len(paths) * plan.round_count * (plan.burst_ms + plan.rest_ms) / 1e3
    assert runner.job_limit_s(None, batch) > 3 * takes_s


@pytest.mark.parametrize("runner", [PythonHostRunner, NativeHostRunner])
def test_models_whose_single_run_is_longer_than_a_burst_do_not_run_into_the_agents_limit_on_a_busy_device(runner):
    plan, run_s = TimingPlan(), 0.75
    batch = Batch(model_paths=("m", "canary"), model_ids=("m", "canary"), seed=0, plan=plan, model_limit_s=30.0)
    tries = 1 + plan.burst_retries
    runs = 7 + plan.round_count * 2 * tries  # one untimed before each burst of one
    assert runner.job_limit_s(None, batch) > 2 * runs * run_s


def test_a_native_runner_that_its_alarm_ended_did_not_crash():
    result = JobResult(id="j", return_code=142, hit_limit=False, output=b"", stderr="Alarm clock")
    assert reason_of(result) == "it did not end within its time limit"


@pytest.mark.parametrize("config", ["android_adb", "android_adb_gpu"])
def test_a_runner_of_one_process_per_round_gets_fewer_models_a_job_and_a_run_still_lasts_about_a_minute(config):
    device = load_device(CONFIGS / f"{config}.yaml")
    binary = DeviceFile(sha256="0" * 64, path=CONFIGS)
    expected_job_s = BenchmarkModelHostRunner(runtime=device.runtime, binary=binary).expected_job_s
    ids = tuple(f"m{index}" for index in range(3 * MODELS_PER_JOB))
    schedule = BatchSchedule(ids, device.plan, thread_count=1, expected_job_s=expected_job_s)
    groups = schedule.next_groups()
    processes = device.plan.round_count * sum(len(group.model_ids) + 1 for group in groups)
    assert sum(expected_job_s(device.plan, len(group.model_ids) + 1) for group in groups) < 90
    assert 8 <= processes < 400


def test_the_last_words_of_a_process_come_without_the_marks_of_a_traceback():
    stderr = "    ^^^^^^^^^\nInvalidArgument: no graph was found\n"
    assert reason_of(SimpleNamespace(stderr=stderr, return_code=1, hit_limit=False)) == (
        "its process ended with exit code 1: InvalidArgument: no graph was found"
    )
