"""Fixed clocks are let go whatever ends the agent, with no host to see to it, under every shell that devices have."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from watching import last_bye, mark_of, wait_for

from profiler_agent.cleaning import clean_device
from profiler_agent.session import open_session

SLEEP = "exec sleep 60\n"


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
    (tmp_path / "root" / "run-0123456789abcdef").mkdir(parents=True)
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
    shutil.rmtree(Path(left_fixed.directory) / "run-0123456789abcdef")
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
