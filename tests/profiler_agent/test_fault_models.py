"""Models that crash, hang or heat the device are named, and all others are timed."""

import subprocess
import sys
from dataclasses import replace

import pytest
from watching import ids_of

from profiler_agent.errors import AgentFailed, ModelsFailed
from profiler_agent.session import open_session
from profiler_agent.stability import judge_timing


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("crash", r"crashed \(signal 11\)"),
        ("oom", "killed, most likely because the device ran out of memory"),
        ("deep", "did not end within its time limit"),
        ("fail", r"exit code 3: the runtime \?\[31mrefused"),
    ],
)
def test_a_model_that_takes_its_process_down_is_named_and_the_others_are_timed(local_device, models, order, reason):
    files = models("ok", "ok", order, "ok", "ok")
    timings = []
    with open_session(local_device) as session, pytest.raises(ModelsFailed, match=reason) as failed:
        for timing in session.time_models(files, canary=files[0]):
            timings.append(timing)
    assert ids_of(timings) == sorted(file.model_id for file in files if order not in file.model_id)
    assert list(failed.value.failures) == [files[2].model_id]


def test_a_canary_that_crashes_is_named_and_no_model_is_blamed(local_device, models):
    files = models("ok", "ok", "ok")
    canary = models("crash")[0]
    with (
        pytest.raises(AgentFailed, match=r"canary model.*crashed \(signal 11\).*another canary"),
        open_session(local_device) as session,
    ):
        list(session.time_models(files, canary=canary))


def test_a_canary_that_crashes_once_is_tried_again(local_device, models):
    files = models("ok", "ok")
    with open_session(local_device) as session:
        timings = session.time_models(files, canary=models("once-crash")[0])
        assert ids_of(timings) == sorted(file.model_id for file in files)


def test_a_model_that_crashes_once_is_tried_again(local_device, models):
    files = models("ok", "once-crash", "ok")
    with open_session(local_device) as session:
        assert ids_of(session.time_models(files, canary=files[0])) == sorted(file.model_id for file in files)


def test_a_model_that_hangs_is_ended_at_the_agents_limit(local_device, models, monkeypatch):
    monkeypatch.setattr("profiler_agent.runner.JOB_MARGIN_S", 1)
    monkeypatch.setattr("profiler_agent.runner.SLOWER_WHEN_BUSY", 1)
    device = replace(local_device, guard=replace(local_device.guard, model_limit_s=0.5))
    files = models("ok", "hang", "ok")
    timings = []
    with open_session(device) as session, pytest.raises(ModelsFailed, match="did not end within its time limit"):
        for timing in session.time_models(files, canary=files[0]):
            timings.append(timing)
    assert len(timings) == 2


def test_the_runner_ends_itself_when_a_model_takes_too_long():
    script = "from profiler_agent.ondevice.main import TimeLimit; import time\nwith TimeLimit(0.2): time.sleep(20)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=15)
    assert done.returncode == 1
    assert "Timeout (" in done.stderr


def test_a_device_on_which_nothing_runs_is_given_up_early(local_device, models):
    files = models(*["crash"] * 20, "ok")
    with open_session(local_device) as session, pytest.raises(AgentFailed, match="6 models in a row failed"):
        list(session.time_models(files, canary=files[-1]))


def test_a_device_that_heats_up_gets_pauses_and_is_then_flagged(local_device, models, monkeypatch):
    plan = replace(local_device.plan, session_count=2, max_sessions=5)
    pauses_s: list[float] = []
    with open_session(local_device) as session:
        monkeypatch.setattr(session._timer, "sleep", pauses_s.append)
        (timing,) = session.time_models(models("ok"), canary=models("heating")[0], plan=plan)
    assert pauses_s == [0.5, 1.0, 2.0]  # longer and longer, and no more than the plan's sessions allow
    assert judge_timing(timing, plan).verdict == "throttled"
