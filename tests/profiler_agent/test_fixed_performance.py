"""Android's clocks are fixed while models are timed, when the device file asks for it, and never left so."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_android import CORES, FIXED_KHZ, FREE_KHZ, FakeAndroid, make_fake_android

from profiler_agent.errors import LinkLost
from profiler_agent.session import clean_device, open_session
from profiler_agent.stability import judge_timing

LIMITS = [[300_000, 300_000], [FREE_KHZ, FREE_KHZ]]
SLEEP = "exec sleep 60\n"


@pytest.fixture
def android(tmp_path, monkeypatch) -> FakeAndroid:
    android = make_fake_android(tmp_path / "android")
    monkeypatch.setattr("profiler_agent.session.AGENT_SCRIPT", android.agent)
    return android


@pytest.fixture
def phone(adb_device, adbd, android):
    """The fault-injecting adbd with that Android behind it, and a device file that asks for fixed clocks."""
    adbd.faults.environment["PATH"] = android.path
    plan = replace(adb_device.plan, session_count=1, max_sessions=1)
    return replace(adb_device, plan=plan, guard=replace(adb_device.guard, fixed_performance=True))


def wait_for(condition, limit_s=20.0):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "the awaited state did not come"
        time.sleep(0.02)


def time_all(device, files):
    with open_session(device) as session:
        timings = list(session.time_models(files, canary=files[0]))
        return timings, session.read_device_state()


def mark_of(root: Path) -> Path:
    return root / "fixed_performance"


# ---- a phone over adb --------------------------------------------------------------------------------------------


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


# ---- a host that does not come back: the agent alone, under every shell that devices have ------------------------


@pytest.fixture(params=["dash", "mksh", "busybox sh", "bash --posix"])
def shell(request):
    words = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed; tests/profiler_agent/setup_system.sh installs it")
    return words


def last_bye(run: Path) -> dict:
    return json.loads((run / "journal").read_text().splitlines()[-1])


def test_clocks_are_let_go_at_the_end(android, tmp_path, shell):
    agent, run = android.start_agent(tmp_path / "root", runner="sleep 0.1\n", shell=shell)
    assert agent.wait(20) == 0
    assert android.calls == ["true", "false"]
    assert last_bye(run) == {"t": "bye", "why": "done", "let_go_rc": 0}


def test_clocks_are_let_go_when_the_lease_ages(android, tmp_path, shell):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP, lease_s=2, shell=shell)
    agent.wait(20)
    assert android.calls == ["true", "false"]
    assert last_bye(run) == {"t": "bye", "why": "lease", "let_go_rc": 0}
    assert not mark_of(run.parent).exists()


def test_clocks_are_let_go_when_the_agent_is_told_to_end(android, tmp_path, shell):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP, shell=shell)
    wait_for((run / "child").exists)
    agent.terminate()
    agent.wait(20)
    assert android.calls == ["true", "false"]
    assert last_bye(run) == {"t": "bye", "why": "signal", "let_go_rc": 0}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_clocks_are_let_go_on_any_signal_that_ends_an_agent(android, tmp_path, number):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP)
    wait_for((run / "child").exists)
    agent.send_signal(number)
    agent.wait(20)
    assert android.calls == ["true", "false"]
    assert last_bye(run) == {"t": "bye", "why": "signal", "let_go_rc": 0}


def test_clocks_are_let_go_when_the_agent_fails(android, tmp_path):
    (tmp_path / "root" / "run-0123").mkdir(parents=True)
    agent, _ = android.start_agent(tmp_path / "root", runner="rm journal; mkdir journal\n")
    assert agent.wait(20) == 1
    assert android.calls == ["true", "false"]


def test_clocks_are_let_go_when_somebody_removed_our_folder_meanwhile(android, tmp_path):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP)
    wait_for((run / "child").exists)
    shutil.rmtree(run.parent)
    agent.terminate()
    agent.wait(20)
    assert android.calls == ["true", "false"]


def test_clocks_are_let_go_when_the_agent_is_killed_and_the_lease_ages(android, tmp_path, shell):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP, lease_s=3, shell=shell)
    wait_for((run / "working").exists)  # the watcher has begun
    agent.kill()
    agent.wait()
    wait_for(lambda: not os.path.lexists(run.parent / "lock"))
    assert android.calls == ["true", "false"]
    assert not mark_of(run.parent).exists()


def test_free_clocks_are_not_touched_at_any_end(android, tmp_path):
    agent, run = android.start_agent(tmp_path / "root", runner=SLEEP, lease_s=2, clocks="free")
    agent.wait(20)
    assert android.calls == []
    assert last_bye(run) == {"t": "bye", "why": "lease"}


# ---- what a killed agent left ------------------------------------------------------------------------------------


@pytest.fixture
def left_fixed(phone, android):
    """The whole process group of an agent was killed, its host with it."""
    root = Path(phone.directory)
    root.parent.mkdir(parents=True)
    agent, run = android.start_agent(root, runner=SLEEP)
    wait_for((run / "working").exists)
    os.killpg(int((run / "child").read_text().split()[0]), signal.SIGKILL)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    assert mark_of(root).exists()
    assert android.calls == ["true"]
    return replace(phone, guard=replace(phone.guard, fixed_performance=False))


def test_the_next_opening_lets_go_what_a_killed_agent_left(left_fixed, android):
    with open_session(left_fixed):
        assert android.calls == ["true", "false"]
        assert not mark_of(Path(left_fixed.directory)).exists()


def test_clean_lets_go_what_a_killed_agent_left(left_fixed, android):
    clean_device(left_fixed)
    assert android.calls == ["true", "false"]


def test_the_next_agent_lets_go_what_a_killed_agent_left(left_fixed, android):
    shutil.rmtree(Path(left_fixed.directory) / "run-0123")
    agent, _ = android.start_agent(Path(left_fixed.directory), runner="sleep 0.1\n", clocks="free")
    assert agent.wait(20) == 0
    assert android.calls == ["true", "false"]


def test_an_opening_does_not_let_go_under_a_living_agent(phone, android):
    root = Path(phone.directory)
    root.parent.mkdir(parents=True)
    agent, run = android.start_agent(root, runner=SLEEP)
    wait_for((run / "child").exists)
    with open_session(phone) as session:
        assert android.calls == ["true"]
        assert session.read_device_state()["fixed_performance"] == "on"
    agent.terminate()
    agent.wait(20)


# ---- the clocks beside a session ---------------------------------------------------------------------------------


def test_the_clocks_are_read_while_the_runner_works(phone, android, models):
    clock = android.cluster(4) / "scaling_cur_freq"
    timings, _ = time_all(phone, models(f"write:{clock}=2000000", "until:1000000,2000000;"))
    clocks = timings[0].sessions[-1].clocks
    assert clocks.working_khz[-1] == (1_000_000, 2_000_000)
    assert clocks.allowed_khz == ((FIXED_KHZ, FIXED_KHZ), (FIXED_KHZ, FIXED_KHZ))


def test_no_more_than_the_last_three_clocks_are_told(phone, android, models):
    clock = android.cluster(4) / "scaling_cur_freq"
    orders = [order for khz in range(1, 5) for order in (f"write:{clock}={khz}", f"until:1000000,{khz};")]
    timings, _ = time_all(phone, models(*orders))
    readings = timings[0].sessions[-1].clocks.working_khz
    assert len(readings) == 3
    assert readings[-1] == (1_000_000, 4)


def test_a_clock_that_is_capped_in_mid_run_makes_a_throttled_verdict(phone, android, models):
    cap = f"write:{android.cluster(4) / 'scaling_max_freq'}=1000000"
    device = replace(phone, runtime=replace(phone.runtime, core_mask=None))
    (timing,), _ = time_all(device, models(cap))
    report = judge_timing(timing, device.plan)
    assert report.verdict == "throttled"
    assert "cores 4, 5, 6, 7 were allowed 1.00 GHz at one time and 1.40 GHz at another" in report.reason


def test_a_cap_on_a_cluster_that_the_core_mask_leaves_out_is_no_throttling(phone, android, models):
    cap = f"write:{android.cluster(4) / 'scaling_max_freq'}=1000000"
    device = replace(phone, runtime=replace(phone.runtime, core_mask="1"))
    (timing,), _ = time_all(device, models(cap))
    assert timing.sessions[0].clocks.allowed_khz == ((FIXED_KHZ, FIXED_KHZ), (FIXED_KHZ, 1_000_000))
    assert judge_timing(timing, device.plan).verdict == "accepted"


def test_a_job_too_short_for_a_reading_has_no_working_clocks(phone, android, models):
    (timing,), _ = time_all(phone, models("ok"))
    assert timing.facts_after["working_frequencies_khz"] is None
    assert timing.sessions[0].clocks.working_khz == ()


def test_a_device_without_readable_clocks_tells_none(local_device, models):
    (timing,), _ = time_all(local_device, models("ok"))
    if not Path("/sys/devices/system/cpu/cpufreq/policy0").exists():
        assert timing.facts_after["max_frequencies_khz"] == []
        assert timing.sessions[0].clocks is None


def test_a_clock_file_that_is_unreadable_or_holds_junk_is_null_and_shifts_nothing(android, tmp_path):
    (android.cluster(0) / "scaling_max_freq").write_text("<unsupported>\n")
    (android.cluster(4) / "scaling_cur_freq").unlink()
    facts = subprocess.run(["sh", android.agent, "facts", tmp_path], capture_output=True, check=True)
    told = json.loads(facts.stdout)
    assert told["max_frequencies_khz"] == [None, FREE_KHZ]
    assert told["frequencies_khz"] == [1_000_000, None]
