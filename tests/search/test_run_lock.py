"""Two processes in one run folder: the second is refused, and nothing outlives the first."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from rich.console import Console

from latency_model.network import network_to_json
from search.errors import RunFolderError
from search.pipeline import run_all
from search.run import Run
from search.run_lock import alone_in
from search.run_settings import RunSettings
from search.settings import TrainSettings
from search.ship.train_any import ImageChoice, train_any
from search.spaces.small import small_space
from search.steps.search import search

HOLDER = """
import sys, time
from pathlib import Path
from search.run_lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another(folder):
    """A lock of another opening is another's, also within one process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def run_in(folder):
    return Run(folder, RunSettings(device="device.yaml", data="digits", target=None))


def test_a_step_is_refused_while_another_process_is_at_work_and_taken_up_afterwards(tmp_path):
    run = run_in(tmp_path)
    with held_by_another(tmp_path):
        refused = pytest.raises(
            RunFolderError, match=f"Another process is at work in {tmp_path}.*Wait until it is done"
        )
        with refused, run.timed("search"):
            raise AssertionError("the step began")
        assert not run.folder.seconds.exists()
    with run.timed("search"):
        pass
    assert "search" in run.seconds()


def test_the_push_button_is_refused_before_its_first_step(tmp_path):
    with held_by_another(tmp_path), pytest.raises(RunFolderError, match="Another process"):
        run_all(run_in(tmp_path), Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_a_second_search_is_refused_before_it_touches_what_the_first_one_logged(tmp_path):
    run, other = run_in(tmp_path / "one"), run_in(tmp_path / "two")
    logged = '{"step": 5}\n{"step": 10}\n'
    for folder in (run.folder, other.folder):
        folder.search.mkdir(parents=True)
        (folder.search / "events.jsonl").write_text(logged)
    for held, others in ((run, []), (other, [other])):
        with held_by_another(held.folder.path), pytest.raises(RunFolderError, match=f"at work in {held.folder.path}"):
            search(run, Console(quiet=True), others=others)
        assert (held.folder.search / "events.jsonl").read_text() == logged
        assert [path.name for path in held.folder.path.iterdir()] == ["search"]


def test_a_second_training_of_a_network_that_is_no_runs_is_refused_before_it_writes(tmp_path):
    network = tmp_path / "network.json"
    space = small_space((1, 16, 16), 10)
    network.write_text(json.dumps(network_to_json(space.network((0,) * len(space.positions), "network"))))
    out = tmp_path / "out"
    out.mkdir()
    with held_by_another(out), pytest.raises(RunFolderError, match=f"at work in {out}"):
        train_any(
            str(network), ImageChoice(data="digits", limit=100), out, TrainSettings(epochs=1.0), Console(quiet=True)
        )
    assert list(out.iterdir()) == []


def test_steps_inside_of_one_process_do_not_refuse_each_other_and_the_outer_one_holds_on(tmp_path):
    run = run_in(tmp_path)
    with alone_in(tmp_path):
        with run.timed("profile"):
            pass
        with pytest.raises(BlockingIOError):
            lock_at_once(tmp_path)
    lock_at_once(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match="Another process"), alone_in(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with alone_in(tmp_path):
        pass


def lock_at_once(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)
