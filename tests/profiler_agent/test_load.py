"""A load that begins in mid-run is seen in what the processors did meanwhile, less what the agent itself ran."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from profiler_agent.bundle import AGENT_SCRIPT
from profiler_agent.device import TimingPlan
from profiler_agent.errors import AgentOutputError
from profiler_agent.load import SessionLoad, load_from_json, load_of_facts
from profiler_agent.stability import judge_timing
from profiler_agent.timing import SessionSamples, Timing

PLAN = TimingPlan()


def facts(*, busy: int, idle: int, own: int | None, pressure: float | None = None) -> dict:
    return {"cpu_ticks": [busy, 0, 0, idle, 0, 0, 0, 0], "own_ticks": own, "cpu_pressure_percent": pressure}


def test_what_the_agent_ran_itself_is_no_other_programs_load():
    load = load_of_facts(facts(busy=1000, idle=1000, own=50), facts(busy=1400, idle=1400, own=410))
    assert load.others_percent == pytest.approx(5.0)


def test_stolen_time_counts_as_other_programs_load():
    after = {"cpu_ticks": [0, 0, 0, 60, 0, 0, 0, 40], "own_ticks": 0}
    assert load_of_facts(facts(busy=0, idle=0, own=0), after).others_percent == pytest.approx(40.0)


@pytest.mark.parametrize(
    "after",
    [
        {},
        facts(busy=400, idle=400, own=None),
        facts(busy=400, idle=400, own=10),  # another agent than before
        facts(busy=0, idle=0, own=60),
        {"cpu_ticks": [None] * 8, "own_ticks": 60},
    ],
)
def test_what_cannot_be_told_is_none(after):
    assert load_of_facts(facts(busy=0, idle=0, own=50), after).others_percent is None


def test_more_own_time_than_the_device_was_busy_is_no_load():
    load = load_of_facts(facts(busy=0, idle=0, own=0), facts(busy=10, idle=90, own=12))
    assert load.others_percent == 0.0


def verdict(*loads: SessionLoad | None, switches: int | None = None, threads: int = 2):
    sessions = tuple(
        SessionSamples(
            samples_ms=(1.0,) * 4, runs_per_burst=2, involuntary_switches=(switches,) * 4, canary_ms=(), load=load
        )
        for load in loads
    )
    timing = Timing(model_id="m", sessions=sessions, thread_count=threads, facts_after={"cpu_ticks": [0] * 8})
    return judge_timing(timing, PLAN)


def load(others: float | None, pressure: float | None = None) -> SessionLoad:
    return SessionLoad(pressure_percent=pressure, others_percent=others)


def test_one_session_beside_other_programs_makes_several_threads_noisy():
    report = verdict(load(2.0), load(47.0), load(1.0))
    assert report.verdict == "noisy"
    assert "other programs kept the CPUs busy for 47 % of the time" in report.reason


def test_a_quiet_device_is_accepted_and_one_thread_on_a_busy_one_too():
    assert verdict(load(2.0), load(3.0), load(9.0)).verdict == "accepted"
    assert verdict(*[load(80.0)] * 3, threads=1).verdict == "accepted"


def test_a_crowded_session_that_does_not_count_harms_nothing():
    slow = replace(verdict_session(1.4), load=load(60.0))
    calm = replace(verdict_session(1.0), load=load(1.0))
    timing = Timing(model_id="m", sessions=(slow, calm, calm, calm), thread_count=2)
    assert judge_timing(timing, PLAN).verdict == "accepted"


def verdict_session(ms: float) -> SessionSamples:
    return SessionSamples(samples_ms=(ms,) * 4, runs_per_burst=2, involuntary_switches=(None,) * 4, canary_ms=())


def test_busy_cores_that_nobody_waits_for_harm_nothing():
    assert verdict(*[load(60.0, pressure=0.5)] * 3).verdict == "accepted"
    assert verdict(*[load(60.0, pressure=30.0)] * 3).verdict == "noisy"


def test_a_pressure_that_the_threads_make_themselves_is_told_from_others_where_preemptions_are_counted():
    assert verdict(*[load(3.0, pressure=30.0)] * 3, switches=0).verdict == "accepted"
    assert verdict(*[load(40.0, pressure=30.0)] * 3, switches=0).verdict == "noisy"
    assert verdict(*[load(3.0, pressure=30.0)] * 3).verdict == "noisy"


@pytest.mark.parametrize("data", [{}, {"pressure_percent": 1.0}, {"pressure_percent": 101, "others_percent": None}])
def test_a_load_of_another_form_is_refused(data):
    with pytest.raises(AgentOutputError):
        load_from_json(data)


@pytest.mark.parametrize("is_hog_beside", [False, True])
def test_the_agent_tells_its_own_work_from_a_program_beside_it(tmp_path, shell, is_hog_beside):
    """Under every shell. Of the machine's cores the job itself keeps one busy for two seconds, and so does the hog."""
    spin = "import time\nwhile time.process_time() < 2: pass"
    run = tmp_path / "run-0123456789abcdef"
    run.mkdir()
    (run / "job_list").write_text("job 60\n")
    (run / "lease").write_text("0\n")
    work = f"{sys.executable} -c '{spin}'"
    # a hog that nobody waits for is not ours, though it was started here
    (run / "runner").write_text(f"({work} &)\n{work}\n" if is_hog_beside else f"{work}\n")
    argv = [*shell, AGENT_SCRIPT, run, "session", "60", "1", "free"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=60, check=True)
    records = map(json.loads, (run / "journal").read_text().splitlines())
    (result,) = [record for record in records if record["t"] == "res"]
    own = result["after"]["own_ticks"] - result["before"]["own_ticks"]
    assert 195 <= own <= 260
    others = load_of_facts(result["before"], result["after"]).others_percent
    if is_hog_beside:
        passed = sum(result["after"]["cpu_ticks"]) - sum(result["before"]["cpu_ticks"])
        assert others >= 100.0 * 100 / passed  # at least one second of its two fell into the job's time
    elif os.getloadavg()[0] < 0.3:
        assert others < 10
