"""Android's clocks are fixed while models are timed, when the device file asks for it, and never left so."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_android import CORES, FIXED_KHZ, FREE_KHZ
from watching import last_bye, mark_of, time_all, wait_for

from profiler_agent.errors import LinkLost
from profiler_agent.session import open_session
from profiler_agent.stability import judge_timing

LIMITS = [[300_000, 300_000], [FREE_KHZ, FREE_KHZ]]


def test_clocks_are_fixed_before_the_first_model_and_let_go_after_the_last(
    phone, android, models, fake_python, tmp_path
):
    program = android.bin / "cmd"
    log = fake_python.parent / "runs.log"
    note = f"echo $3 $(cat {log} 2>/dev/null | wc -l) >>{tmp_path}/order"
    program.write_text(program.read_text().replace("case $3", f"{note}\ncase $3"))
    timings, state = time_all(phone, models("ok", "ok"))
    assert (tmp_path / "order").read_text().splitlines() == ["true 0", "false 1"]  # the runs that had begun
    assert android.calls == ["true", "false"]
    assert len(timings) == 2
    assert state["fixed_performance"] is None
    assert state["max_frequencies_khz"] == [FREE_KHZ, FREE_KHZ]
    assert not mark_of(Path(phone.directory)).exists()


def test_the_facts_hold_the_limits_found_before_and_those_that_were_fixed(phone, android, models):
    (timing,), _ = time_all(phone, models("ok"))
    for facts in (timing.facts_before, timing.facts_after):
        assert facts["fixed_performance"] == "on"
        assert facts["found_limits_khz"] == LIMITS
        assert facts["max_frequencies_khz"] == [FIXED_KHZ, FIXED_KHZ]
        assert facts["min_frequencies_khz"] == LIMITS[0]
        assert facts["cluster_cores"] == [[int(core) for core in cores.split()] for cores in CORES]
    assert judge_timing(timing, phone.plan).verdict == "accepted"  # a lower clock, but the same for all


def test_a_device_file_that_does_not_ask_leaves_the_clocks_alone(phone, android, models):
    device = replace(phone, guard=replace(phone.guard, fixed_performance=False))
    (timing,), _ = time_all(device, models("ok"))
    assert android.calls == []
    assert timing.facts_before["fixed_performance"] is None
    assert timing.facts_before["found_limits_khz"] is None


def test_a_phone_that_refuses_is_timed_all_the_same_and_its_facts_say_so(phone, android, models):
    android.answer(to_true=255, to_false=255)
    (timing,), state = time_all(phone, models("ok"))
    assert timing.facts_before["fixed_performance"] == timing.facts_after["fixed_performance"] == "refused"
    assert timing.facts_before["fixed_performance_rc"] == 255
    assert timing.facts_before["max_frequencies_khz"] == [FREE_KHZ, FREE_KHZ]
    assert android.calls == ["true", "false"]  # the second for a request that is still under way
    assert state["fixed_performance"] is None


def test_a_phone_that_does_not_answer_counts_as_one_that_refuses(phone, android, models):
    android.answer(after_s=5)
    (timing,), _ = time_all(phone, models("ok"))
    assert timing.facts_before["fixed_performance"] == "refused"
    assert timing.facts_before["fixed_performance_rc"] == 124


@pytest.mark.parametrize("sdk", ["29", "", "REL"])
def test_an_android_before_the_mode_is_not_asked_although_it_would_say_yes(phone, android, models, sdk):
    android.has_release(sdk)
    (timing,), _ = time_all(phone, models("ok"))
    assert android.calls == []
    assert timing.facts_before["fixed_performance"] == "missing"


@pytest.mark.parametrize("program", ["cmd", "getprop"])
def test_a_device_that_is_no_android_is_not_asked(phone, android, models, program):
    (android.bin / program).unlink()
    (timing,), _ = time_all(phone, models("ok"))
    assert android.calls == []
    assert timing.facts_before["fixed_performance"] == "missing"


def test_a_phone_that_does_not_let_go_is_said_so_and_asked_again_at_the_next_opening(phone, android, models):
    android.answer(to_false=255)
    (timing,), state = time_all(phone, models("ok"))
    assert timing.facts_after["fixed_performance"] == "on"
    assert state["fixed_performance"] == "on"
    android.answer()
    with open_session(phone) as session:
        assert session.read_device_state()["fixed_performance"] is None
    assert android.calls == ["true", "false", "false"]


def test_a_host_that_gives_up_leaves_no_fixed_clocks(phone, android, models, fake_python, monkeypatch):
    def give_up(*_):
        if (fake_python.parent / "runs.log").exists():
            raise RuntimeError("the host gives up")
        return 0.05

    monkeypatch.setattr("profiler_agent.agent_run.AgentRun._pause_s", give_up)
    with pytest.raises(RuntimeError), open_session(phone) as session:
        files = models("slow:60")
        list(session.time_models(files, canary=files[0]))
    wait_for(lambda: android.calls == ["true", "false"])
    wait_for(lambda: not mark_of(Path(phone.directory)).exists())


def test_a_phone_whose_host_is_lost_lets_go_when_the_lease_ages(phone, adbd, android, models, fake_python, monkeypatch):
    monkeypatch.setattr("profiler_agent.agent_run.POLL_LIMIT_S", 1.0)
    device = replace(phone, guard=replace(phone.guard, lease_s=3))

    def pull_cable():
        wait_for((fake_python.parent / "runs.log").exists)
        adbd.faults.stall.set()

    threading.Thread(target=pull_cable, daemon=True).start()
    files = models("slow:60")
    with pytest.raises(LinkLost), open_session(device) as session:
        list(session.time_models(files, canary=files[0]))
    wait_for(lambda: android.calls == ["true", "false"])
    assert [last_bye(run)["why"] for run in Path(phone.directory).glob("run-*")] == ["lease"]


def test_a_killed_agent_is_restarted_and_the_clocks_are_found_as_they_were(phone, android, models, fake_python):
    def kill_agent():
        wait_for((fake_python.parent / "runs.log").exists)
        (pid_file,) = Path(phone.directory).glob("run-*/pid")
        os.kill(int(pid_file.read_text()), signal.SIGKILL)

    threading.Thread(target=kill_agent, daemon=True).start()
    files = models("slow:2")
    (timing,), state = time_all(phone, files)
    assert android.calls == ["true", "false", "true", "false"]
    assert timing.facts_after["found_limits_khz"] == LIMITS  # not those that the first agent fixed
    assert state["fixed_performance"] is None
