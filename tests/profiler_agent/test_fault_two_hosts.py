"""Two hosts on one device take turns, or are told that it is held."""

import itertools
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from other_shell import OtherShell
from watching import agent_pid, in_background, run_folders, runs_log, wait_for

from profiler_agent.agent_run import AgentRun
from profiler_agent.bundle import AGENT_SCRIPT
from profiler_agent.cleaning import clean_device
from profiler_agent.device import Device
from profiler_agent.errors import DeviceBusy
from profiler_agent.session import open_session


def require_turns(first: Device, second: Device, files: list[Path], fake_python: Path) -> None:
    """Two hosts time at the same time, and never both at once."""

    def second_host():
        with open_session(second) as session:
            assert len(list(session.time_models(files, canary=files[0]))) == 2

    with in_background(second_host), open_session(first) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    spans = [line.split(":") for line in (fake_python.parent / "spans.log").read_text().split()]
    ordered = sorted((float(start), float(end)) for start, end in spans)
    assert len(ordered) == 4
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))


def test_two_hosts_on_one_device_take_turns(local_device, models, fake_python):
    require_turns(local_device, local_device, models("ok", "slow:0.3"), fake_python)


def test_a_host_with_many_runs_leaves_turns_to_another(local_device, models, fake_python):
    """Between two runs the device is free for a moment only."""
    files = models("ok", "slow:0.5")
    is_served = threading.Event()

    def many_runs():
        with open_session(local_device) as session:
            for _ in range(40):
                list(session.time_models(files, canary=files[0]))
                if is_served.is_set():
                    return
            raise AssertionError("the other host had no turn")

    impatient = replace(local_device, guard=replace(local_device.guard, wait_limit_s=15.0))
    with in_background(many_runs):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        with open_session(impatient) as session:
            assert len(list(session.time_models(models("ok"), canary=files[0]))) == 1
        is_served.set()


def test_results_that_a_host_has_still_to_take_outlive_their_agent(local_device, models, monkeypatch):
    """Another host that opens the device between an agent's end and its host's last look leaves the run alone."""
    files, take = models("ok", "ok"), AgentRun._take

    def take_late(run, *arguments):
        wait_for(lambda: agent_pid(local_device) is None)
        with open_session(local_device):
            pass
        take(run, *arguments)

    monkeypatch.setattr(AgentRun, "_take", take_late)
    with open_session(local_device) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    assert run_folders(local_device) == []


def test_a_run_is_swept_when_neither_its_agent_lives_nor_a_host_looks_after_it(local_device, tmp_path, shell):
    dead = "4194305"  # above the largest process id
    left = {
        "run-00000000000000d0": (dead, '{"t":"bye","why":"done"}', 180),
        "run-00000000000000d1": (dead, '{"t":"res","id":"a"', 180),
        "run-00000000000000d2": (dead, '{"t":"bye","why":"lease"}', 10),
        "run-00000000000000d3": ("", '{"t":"bye","why":"busy"}', 7000),
    }
    looked_after = {
        "run-00000000000000a0": (dead, '{"t":"bye","why":"done"}', 10),
        "run-00000000000000a1": ("", '{"t":"bye","why":"busy"}', 10),
    }
    for name, (pid, last_word, age_s) in (left | looked_after).items():
        run = Path(local_device.directory) / name
        run.mkdir(parents=True)
        for file, text in (("pid", pid), ("journal", last_word), ("lease", "7")):
            (run / file).write_text(text + "\n")
        for path, seconds in ((run / "lease", age_s), (run, 7200)):
            os.utime(path, (time.time() - seconds,) * 2)
    with open_session(local_device, transport=OtherShell(tmp_path, " ".join(shell))):
        assert {path.name for path in run_folders(local_device)} == set(looked_after)


def test_a_device_held_too_long_by_another_host_is_said_busy(local_device, models, fake_python):
    files = models("ok", "slow:4")

    def first_host():
        with open_session(local_device) as session:
            list(session.time_models(files, canary=files[0]))

    impatient = replace(local_device, guard=replace(local_device.guard, wait_limit_s=1.0))
    with in_background(first_host):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        with pytest.raises(DeviceBusy, match="Another session"), open_session(impatient) as session:
            list(session.time_models(files, canary=files[0]))


def test_a_host_that_waits_longer_for_its_turn_than_a_job_may_take_gets_it(
    local_device, models, fake_python, monkeypatch
):
    monkeypatch.setattr("profiler_agent.runner.JOB_MARGIN_S", 0)
    monkeypatch.setattr("profiler_agent.runner.SLOWER_WHEN_BUSY", 1)
    monkeypatch.setattr("profiler_agent.agent_run._LONGEST_SILENCE_S", 1.0)
    files = models("ok", "slow:6")
    plan = replace(local_device.plan, session_count=1, max_sessions=1)
    quick = replace(local_device, guard=replace(local_device.guard, model_limit_s=1.0))

    def first_host():
        with open_session(local_device) as session:
            list(session.time_models(files, canary=files[0], plan=plan))

    with in_background(first_host):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        with open_session(quick) as session:
            assert len(list(session.time_models(files[:1], canary=files[0]))) == 1


# ---- other folders and users -------------------------------------------------------------------------------------


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The place of the lock that agents of all folders share, as /tmp is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setenv("PROXYLESS_LOCK_DIRECTORY", str(folder))
    return folder


def test_two_hosts_with_different_folders_on_one_device_take_turns(local_device, models, fake_python, locks, tmp_path):
    elsewhere = replace(local_device, directory=str(tmp_path / "elsewhere" / "proxyless"))
    require_turns(local_device, elsewhere, models("ok", "slow:0.3"), fake_python)
    wait_for(lambda: list(locks.iterdir()) == [])


def start_agent(root: Path, *, user: int | None = None, shell=("sh",)) -> subprocess.Popen:
    """An agent with a job of a minute, by no host of ours."""
    root.chmod(0o755)
    run = root / "run-0123456789abcdef"
    run.mkdir()
    (root / "agent.sh").write_text(AGENT_SCRIPT.read_text())
    for name, text in (("job_list", "job 90\n"), ("runner", "exec sleep 60\n"), ("lease", "0\n")):
        (run / name).write_text(text)
    if user is not None:
        for path in (root, run, *run.iterdir()):
            os.chown(path, user, user)
    argv = [*shell, root / "agent.sh", run, "s", "60", "1", "free"]
    agent = subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", user=user, group=user, start_new_session=True)
    wait_for(lambda: (run / "child").exists() and (run / "child").read_text().endswith("\n"))
    return agent


@pytest.fixture
def open_folder():
    """Where another user gets in, as into a folder of pytest's none does."""
    with tempfile.TemporaryDirectory(prefix="proxyless-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_agent_of_another_user_is_seen(local_device, models, open_folder, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("running an agent as another user needs root")
    places = {name: open_folder / name for name in ("locks", "theirs")}
    for place in places.values():
        place.mkdir()
    places["locks"].chmod(0o1777)
    monkeypatch.setenv("PROXYLESS_LOCK_DIRECTORY", str(places["locks"]))
    agent = start_agent(places["theirs"], user=65534)
    impatient = replace(local_device, guard=replace(local_device.guard, wait_limit_s=1.0))
    try:
        with (
            pytest.raises(DeviceBusy, match=rf"Another session \(process {agent.pid}\)"),
            open_session(impatient) as session,
        ):
            list(session.time_models(models("ok"), canary=models("ok")[0]))
    finally:
        agent.terminate()
        agent.wait(20)
    assert list(places["locks"].iterdir()) == []


def test_a_lock_that_a_killed_agent_left_is_taken_over_and_cleaned_up(local_device, models, locks, tmp_path, shell):
    (tmp_path / "theirs").mkdir()
    agent = start_agent(tmp_path / "theirs", shell=shell)
    (link,) = locks.iterdir()
    child = int((tmp_path / "theirs/run-0123456789abcdef/child").read_text().split()[0])
    wait_for(lambda: os.getpgid(child) == child)  # setsid has worked
    os.killpg(child, signal.SIGKILL)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    assert link.is_symlink()
    with open_session(local_device) as session:  # whose agent would take it over, too
        assert not link.is_symlink()
        link.symlink_to(f"{agent.pid}:run-0123456789abcdef")
        assert len(list(session.time_models(models("ok"), canary=models("ok")[0]))) == 1
    wait_for(lambda: not link.is_symlink())
    link.symlink_to(f"{agent.pid}:run-0123456789abcdef")
    clean_device(local_device)
    assert not link.is_symlink()


def test_a_device_without_a_shared_place_is_timed_all_the_same(local_device, models, tmp_path, monkeypatch):
    script = tmp_path / "agent.sh"
    script.write_text(AGENT_SCRIPT.read_text().replace('" /tmp; do', '" /nowhere; do'))
    monkeypatch.setattr("profiler_agent.session.AGENT_SCRIPT", script)
    monkeypatch.setenv("PROXYLESS_LOCK_DIRECTORY", "/nowhere/either")
    with open_session(local_device) as session:
        assert len(list(session.time_models(models("ok"), canary=models("ok")[0]))) == 1


def test_a_folder_where_the_shared_lock_belongs_is_left_alone(local_device, models, locks):
    (locks / "proxyless.lock").mkdir()
    with open_session(local_device) as session:
        assert len(list(session.time_models(models("ok"), canary=models("ok")[0]))) == 1
    assert list((locks / "proxyless.lock").iterdir()) == []
