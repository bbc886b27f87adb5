"""Agents that are killed, of another version, or under another shell."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from other_shell import SHELLS, OtherShell
from watching import agent_pid, in_background, run_folders, runs_log, wait_for

from profiler_agent.cleaning import clean_device
from profiler_agent.errors import AgentFailed, AgentVersionError, ModelsFailed
from profiler_agent.session import open_session


def test_a_killed_agent_with_a_torn_journal_line_is_restarted(local_device, models, fake_python):
    files = models("ok", "slow:1.0")

    def kill_agent():
        wait_for(lambda: len(runs_log(fake_python)) > 1)  # the second job runs
        os.kill(wait_for(lambda: agent_pid(local_device)), signal.SIGKILL)
        with (run_folders(local_device)[0] / "journal").open("a") as journal:
            journal.write('{"t":"res","id":"torn')

    with open_session(local_device) as session, in_background(kill_agent):
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    counts = sorted(Counter(runs_log(fake_python)).values())
    assert counts == [1, 2]  # the job that the agent had started was retried once


def test_a_job_that_takes_the_agent_down_is_not_tried_for_ever(local_device, models, fake_python):
    files = models("ok", "slow:2.0")

    def kill_agents():
        for count in (1, 2):
            wait_for(lambda count=count: len(runs_log(fake_python)) >= count)
            os.kill(wait_for(lambda: agent_pid(local_device)), signal.SIGKILL)

    with open_session(local_device) as session, in_background(kill_agents):
        assert len(list(session.time_models(files, canary=files[0]))) == 2


def test_an_agent_of_another_version_is_refused(local_device, models):
    files = models("ok")
    with pytest.raises(AgentVersionError, match="proxyless device clean"), open_session(local_device) as session:
        for path in Path(local_device.directory, "cache").iterdir():
            if path.read_bytes().startswith(b"#!/bin/sh"):
                path.write_text(path.read_text() + "# another version\n")
        list(session.time_models(files, canary=files[0]))


def test_a_broken_file_in_the_cache_is_sent_again(local_device, models):
    files = models("ok")
    with open_session(local_device):
        pass
    for path in Path(local_device.directory, "cache").iterdir():
        path.write_text("half a file")
    with open_session(local_device) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_the_agent_runs_under_every_shell_that_devices_have(local_device, models, tmp_path, shell):
    program = shutil.which(shell.split()[0])
    if program is None:
        pytest.skip(f"{shell.split()[0]} is not installed; tests/profiler_agent/setup_system.sh installs it")
    files = models("ok", "crash", "ok")
    with pytest.raises(ModelsFailed), open_session(local_device, transport=OtherShell(tmp_path, shell)) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 2


def test_an_agent_that_something_stopped_is_not_waited_for_for_ever(local_device, models, fake_python, monkeypatch):
    monkeypatch.setattr("profiler_agent.runner.JOB_MARGIN_S", 0)
    monkeypatch.setattr("profiler_agent.agent_run._LONGEST_SILENCE_S", 1.0)
    device = replace(local_device, guard=replace(local_device.guard, model_limit_s=0.5))
    files = models("ok", "hang")
    stopped = []

    def stop():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        stopped.append(wait_for(lambda: agent_pid(local_device)))
        os.kill(stopped[0], signal.SIGSTOP)

    with pytest.raises(AgentFailed, match="has said nothing for"), open_session(device) as session, in_background(stop):
        list(session.time_models(files, canary=files[0]))
    wait_for(lambda: not Path(f"/proc/{stopped[0]}").exists())


def test_a_stopped_agent_is_ended_by_cleaning(local_device, models, fake_python):
    files = models("ok", "hang")

    def stop_and_clean():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        pid = wait_for(lambda: agent_pid(local_device))
        os.kill(pid, signal.SIGSTOP)
        clean_device(local_device, even_if_held=True)
        assert not Path(f"/proc/{pid}").exists()

    with (
        pytest.raises(AgentFailed, match="cleaned by someone else"),
        open_session(local_device) as session,
        in_background(stop_and_clean),
    ):
        list(session.time_models(files, canary=files[0]))


def test_the_agent_is_clean_under_shellcheck():
    script = Path(__file__).parents[2] / "profiler_agent" / "ondevice" / "agent.sh"
    checker = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([checker, "-s", "sh", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert re.match(r"#!/bin/sh", script.read_text())
