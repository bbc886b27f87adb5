"""Hosts that are killed, lost for good or interrupted lose and double nothing, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from watching import agent_pid, ids_of, run_folders, runs_log, wait_for

from profiler_agent.cleaning import clean_device
from profiler_agent.errors import ProxylessError
from profiler_agent.session import open_session

HOST = Path(__file__).parent / "host_process.py"


def start_host(device, fake_python, work_dir, files, lease_s=20):
    argv = [sys.executable, HOST, device.directory, fake_python, work_dir, str(lease_s), *(file.path for file in files)]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, cwd=HOST.parents[2])


def test_a_host_killed_and_restarted_loses_and_doubles_no_job(local_device, models, fake_python, tmp_path):
    files = models(*["ok"] * 49, "slow:0.7")  # two batches: 48 and 2
    todo = {file.model_id.split("-")[0]: file for file in files}
    canary = files[0]
    taken: list[str] = []
    for jobs_before in (1, 3, None):
        # like a campaign, a restarted host asks for what it has not stored; the canary is the first model
        host = start_host(local_device, fake_python, tmp_path / "work", [canary, *todo.values()])
        if jobs_before is not None:
            wait_for(lambda count=jobs_before: len(runs_log(fake_python)) >= count)
            host.kill()
        output, _ = host.communicate(timeout=60)
        for name, session_count in (line.split() for line in output.decode().splitlines()):
            assert session_count == "2"
            taken.append(name)
            todo.pop(name)
    assert host.returncode == 0
    assert todo == {}
    assert sorted(taken) == sorted(set(taken))
    assert sorted(Counter(runs_log(fake_python)).values()) == [1, 1, 1, 1]


def test_hosts_that_die_one_after_the_other_take_over_what_was_done(local_device, models, tmp_path):
    files = models(*["ok"] * 3)
    plan = replace(local_device.plan, session_count=4, max_sessions=4)  # four jobs in one run of the agent
    timings = []
    for done_at_death in (2, 3, 4, None):

        def die(done, _, job_count=done_at_death):
            if job_count is not None and done == job_count * len(files):
                raise RuntimeError("the host dies here")

        with suppress(RuntimeError), open_session(local_device, work_dir=tmp_path / "work") as session:
            timings += session.time_models(files, canary=files[0], plan=plan, on_progress=die)
    assert ids_of(timings) == sorted(file.model_id for file in files)
    assert all(len(timing.sessions) == 4 for timing in timings)


def test_a_batch_half_handed_over_is_not_run_again(local_device, models, fake_python, tmp_path):
    files = models(*["ok"] * 5)
    with pytest.raises(RuntimeError), open_session(local_device, work_dir=tmp_path / "work") as session:
        timings = session.time_models(files, canary=files[0])
        first = next(timings).model_id
        raise RuntimeError("the host dies here")
    left = [file for file in files if file.model_id != first]
    with open_session(local_device, work_dir=tmp_path / "work") as session:
        assert ids_of(session.time_models(left, canary=files[0])) == sorted(file.model_id for file in left)
    assert len(runs_log(fake_python)) == 2


@pytest.mark.parametrize("is_cleaned", [True, False])
def test_a_model_that_nobody_asks_for_any_more_holds_up_no_other(
    local_device, models, fake_python, tmp_path, is_cleaned
):
    """A host died in the middle of a batch; the next one wants fewer models of it, and the device may have lost all."""
    files = models("ok", "ok", "slow:2")

    def die(done, _):
        raise RuntimeError("the host dies here")

    with suppress(RuntimeError), open_session(local_device, work_dir=tmp_path / "work") as session:
        list(session.time_models(files, canary=files[1], on_progress=die))
    if is_cleaned:
        clean_device(local_device, even_if_held=True)
    with open_session(local_device, work_dir=tmp_path / "work") as session:
        left = files[1:]
        assert ids_of(session.time_models(left, canary=files[1])) == sorted(file.model_id for file in left)


def test_results_that_were_handed_over_are_measured_anew_the_next_time(local_device, models, fake_python, tmp_path):
    files = models("ok")
    for _ in range(2):
        with open_session(local_device, work_dir=tmp_path / "work") as session:
            list(session.time_models(files, canary=files[0]))
    assert len(runs_log(fake_python)) == 4


def test_an_agent_whose_host_is_gone_for_good_ends_by_its_lease(local_device, models, fake_python, tmp_path):
    host = start_host(local_device, fake_python, tmp_path / "work", models("ok", "ok", "slow:60"), lease_s=2)
    wait_for(lambda: len(runs_log(fake_python)) > 0)
    pid = wait_for(lambda: agent_pid(local_device))
    host.kill()
    host.communicate()
    wait_for(lambda: agent_pid(local_device) is None, limit_s=10)
    (folder,) = run_folders(local_device)
    assert (folder / "journal").read_text().endswith('{"t":"bye","why":"lease"}\n')
    assert not Path(f"/proc/{pid}").exists()
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if folder.name.encode() in read_quietly(p)]


def read_quietly(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_what_a_lost_host_left_is_swept_at_the_next_opening(local_device, models, fake_python, tmp_path):
    host = start_host(local_device, fake_python, tmp_path / "work", models("ok", "ok", "slow:60"), lease_s=2)
    wait_for(lambda: len(runs_log(fake_python)) > 0)
    wait_for(lambda: agent_pid(local_device))
    host.kill()
    host.communicate()
    wait_for(lambda: agent_pid(local_device) is None, limit_s=10)
    with open_session(local_device):
        assert run_folders(local_device) == []


def test_what_a_lost_host_left_at_work_is_cleaned_without_force(local_device, models, fake_python, tmp_path):
    host = start_host(local_device, fake_python, tmp_path / "work", models("ok", "slow:60"), lease_s=60)
    wait_for(lambda: len(runs_log(fake_python)) > 0)
    pid = wait_for(lambda: agent_pid(local_device))
    host.kill()
    host.communicate()
    clean_device(local_device)
    assert not Path(local_device.directory).exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("order", "words"), [("sick:junk", "does not allow"), ("sick:crash", "models in a row failed")]
)
def test_a_device_that_was_mended_is_not_judged_by_what_it_gave_before(
    local_device, models, fake_python, tmp_path, order, words
):
    files = models("ok", *[order] * 8)
    with pytest.raises(ProxylessError, match=words), open_session(local_device, work_dir=tmp_path / "work") as session:
        list(session.time_models(files, canary=files[0]))
    (fake_python.parent / "healed").touch()
    with open_session(local_device, work_dir=tmp_path / "work") as session:
        assert ids_of(session.time_models(files, canary=files[0])) == sorted(file.model_id for file in files)


@pytest.mark.parametrize("change", ["core mask", "clocks", "runtime"])
def test_what_was_timed_under_other_conditions_is_not_taken_over(
    local_device, models, fake_python, tmp_path, monkeypatch, change
):
    files = models("ok", "ok")
    with pytest.raises(RuntimeError), open_session(local_device, work_dir=tmp_path / "work") as session:
        first = next(session.time_models(files, canary=files[0])).model_id
        raise RuntimeError("the host dies here")
    clean_device(local_device, even_if_held=True)
    left = [file for file in files if file.model_id != first]
    if change == "core mask":
        cores = f"{sum(1 << core for core in os.sched_getaffinity(0)):x}"
        device = replace(local_device, runtime=replace(local_device.runtime, core_mask=cores))
    elif change == "clocks":
        device = replace(local_device, guard=replace(local_device.guard, fixed_performance=True))
    else:
        device = local_device
        monkeypatch.setenv("FAKE_VERSION", "0.1")
    with open_session(device, work_dir=tmp_path / "work") as session:
        assert ids_of(session.time_models(left, canary=files[0])) == [left[0].model_id]
    assert sorted(Counter(runs_log(fake_python)).values()) == [1, 1, 1, 1]  # no job was spared


def test_an_interrupted_host_stops_its_agent(local_device, models, fake_python):
    files = models("ok", "slow:60")
    with pytest.raises(KeyboardInterrupt), open_session(local_device) as session:
        threading.Thread(
            target=lambda: (wait_for(lambda: len(runs_log(fake_python)) > 0), os.kill(os.getpid(), signal.SIGINT)),
            daemon=True,
        ).start()
        list(session.time_models(files, canary=files[0]))
    assert run_folders(local_device) == []
    assert [path.name for path in Path(local_device.directory, "cache").iterdir() if len(path.name) != 64] == []
