"""`device check` of a device that answers and cannot be timed now: what it tells of itself, and the finding."""

import json
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner
from watching import in_background, run_folders, runs_log, wait_for

from profiler_agent.check import check_device
from profiler_agent.cli import device_app
from profiler_agent.session import Session, open_session

HOT = {"temperature_mc": 80_000, "load_1min": 0.5}


@pytest.fixture
def hot(local_device, monkeypatch):
    monkeypatch.setattr(Session, "read_device_state", lambda _: HOT)
    return replace(local_device, guard=replace(local_device.guard, wait_limit_s=600.0, max_start_temperature_c=45.0))


def test_a_hot_device_is_described_with_the_finding_within_seconds(hot):
    started_s = time.monotonic()
    told: list[str] = []
    report = check_device(hot, on_wait=told.append)
    assert time.monotonic() - started_s < 20
    assert len(told) == 1
    assert "is at 80 C" in told[0]
    assert "is at 80 C; a run starts below 45 C" in report.finding
    assert (report.latency_ms, report.stability) == ({}, None)
    assert report.details["machine"]
    assert report.runtime_name == "onnxruntime"
    assert report.state == HOT
    assert run_folders(hot) == []


def test_several_threads_on_a_busy_device_are_a_finding(local_device, monkeypatch):
    monkeypatch.setattr(Session, "read_device_state", lambda _: {"cpu_pressure_percent": 90.0})
    device = replace(local_device, runtime=replace(local_device.runtime, thread_count=2))
    assert "has a CPU pressure of 90 %" in check_device(device).finding


def test_a_device_that_another_session_holds_is_waited_for_in_words_and_then_a_finding(
    local_device, models, fake_python
):
    def first_host():
        files = models("ok", "slow:4")  # a job for each session
        with open_session(local_device) as session:
            list(session.time_models(files, canary=files[0]))

    told: list[str] = []
    impatient = replace(local_device, guard=replace(local_device.guard, wait_limit_s=1.0))
    with in_background(first_host):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        report = check_device(impatient, on_wait=told.append)
        assert len(run_folders(local_device)) == 1  # the other's
    assert len(told) == 1
    assert told[0].startswith("Another session (process ")
    assert report.finding.startswith("Another session (process ")
    assert "`proxyless device clean --force`" in report.finding
    assert report.details["machine"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_finding_is_printed_after_the_facts_and_ends_with_exit_code_3(hot, monkeypatch, as_json):
    monkeypatch.setattr("profiler_agent.device.load_device", lambda _: hot)
    result = CliRunner().invoke(device_app, ["check", "device.yaml", *(["--json"] if as_json else [])])
    assert result.exit_code == 3
    if as_json:
        told = json.loads(result.stdout)
        assert "is at 80 C" in told["finding"]
        assert told["stability"] is None
        assert told["state"] == HOT
        assert told["details"]["machine"]
    else:
        order = ["fingerprint", "machine: ", "runtime   onnxruntime", "state     temperature_mc: 80000", "finding   "]
        assert [result.stdout.index(word) for word in order] == sorted(result.stdout.index(word) for word in order)
