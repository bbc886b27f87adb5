"""search --device-in-the-loop on this machine, as a user runs it: killed between two visits, and resumed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from latency_model.measurement_file import read_measurements
from search.files import read_json, read_json_lines
from search.run import open_run
from search.steps.report import device_visits
from search.steps.search import finished_trainer
from tests.search.as_a_user import SAVING_EVERY_STEP, done, start
from tests.search.budget_in_reach import budget_ms
from tests.search.quick_device import QUICK_DEVICE

FIRST_VISIT, LAST_VISIT = 39, 63


def kill_after_visits(log: Path, count: int, *words: object) -> None:
    process = start(*words, program=SAVING_EVERY_STEP)
    for _ in range(4800):
        if len(list(read_json_lines(log))) >= count:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, list[dict]]:
    """The run folder, and the visits that it knew of when it was killed."""
    folder = tmp_path_factory.mktemp("device_loop")
    (folder / "device.yaml").write_text(QUICK_DEVICE)
    run = folder / "run"
    words = ["--device", folder / "device.yaml", "--data", "digits", "--limit", 200, "--preset", "smoke", "--out", run]
    done("profile", *words)
    done("fit", run / "measurements.jsonl", "--out", run / "predictor")
    words = ["search", run, "--target-ms", budget_ms(run, 0.7), "--device-in-the-loop"]
    log = run / "search" / "device_loop.jsonl"
    kill_after_visits(log, 2, *words)
    before = list(read_json_lines(log))
    done(*words)
    return run, before


@pytest.mark.slow
def test_each_visit_is_logged_once_also_when_the_search_was_killed(searched):
    run, before = searched
    visits = list(read_json_lines(run / "search" / "device_loop.jsonl"))
    assert [visit["step"] for visit in visits] == [FIRST_VISIT, 47, 55, LAST_VISIT]
    assert visits[0] == before[0]
    assert device_visits(open_run(run)) == {"planned": 4, "done": 4}


@pytest.mark.slow
def test_what_the_device_took_corrects_what_the_search_goes_on_with(searched):
    run, _ = searched
    visits = list(read_json_lines(run / "search" / "device_loop.jsonl"))
    assert all(visit["measured_ms"] > 0 and visit["corrected_ms"] > 0 for visit in visits)
    assert any(visit["corrected_ms"] != visit["predicted_ms"] for visit in visits)
    last = visits[-1]
    target = finished_trainer(open_run(run)).states[0].target
    assert target.network_ms(tuple(last["choices"])) == pytest.approx(last["corrected_ms"], rel=1e-9)


@pytest.mark.slow
def test_what_was_timed_joins_the_runs_measurements_and_its_device_time_is_counted(searched):
    run, _ = searched
    measured = {one.latency_ms for one in read_measurements(run / "measurements.jsonl").measurements if one.is_usable}
    visits = list(read_json_lines(run / "search" / "device_loop.jsonl"))
    assert {visit["measured_ms"] for visit in visits} <= measured
    assert read_json(run / "device_seconds.json")["search"] > 0
