"""A profile on a device that is throttled now and then: a few networks may be left out, and it is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec
from search.errors import RunFolderError
from search.pipeline import run_all
from search.run import Run, start_run
from search.run_settings import RunSettings
from search.steps import fit as fit_step
from search.steps.fit import fit
from search.steps.profile import MOST_THROTTLED, plan_of, planned_measurements, profile
from tests.search.made_up_session import MadeUpSession
from tests.search.quick_device import QUICK_DEVICE


@pytest.fixture
def run(tmp_path) -> Run:
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    settings = RunSettings(device=str(tmp_path / "device.yaml"), data="digits", target=None, preset="smoke")
    return start_run(tmp_path / "run", settings)


def profiled(run: Run, throttled: Sequence[NetworkSpec]) -> None:
    """The whole plan timed, these networks only while the device was throttled."""
    run.open_device = lambda step: nullcontext(MadeUpSession(run.device))
    profile(run, Console(quiet=True))
    slowed, lines = {paid_ops(network) for network in throttled}, []
    measured = read_measurements(run.measurements).measurements
    for line, measurement in zip(run.measurements.read_text().splitlines(), measured, strict=True):
        fields = json.loads(line)
        if measurement.paid_ops in slowed:
            fields["report"] |= {"verdict": "throttled", "reason": "made up"}
        lines.append(json.dumps(fields))
    run.measurements.write_text("\n".join(lines) + "\n")


def networks(run: Run, count: int) -> tuple[NetworkSpec, ...]:
    """Of those that calibrate, and of the ops then."""
    plan = plan_of(run)
    return (*plan.calibration, *plan.ops)[:count]


def test_a_network_that_is_throttled_each_time_is_left_out_and_it_is_said(run, capsys, monkeypatch):
    profiled(run, networks(run, 1))
    measured = planned_measurements(run)
    assert len(measured) == len({paid_ops(network) for network in plan_of(run).networks}) - 1
    monkeypatch.setattr(fit_step, "fit_predictor", lambda given, *_, **__: given)
    monkeypatch.setattr(fit_step, "save_predictor", lambda *_: None)
    monkeypatch.setattr(fit_step, "describe_card", lambda given: f"fitted on {len(given)}")
    fit(run, Console())
    said = capsys.readouterr().out
    assert "left out: 1, timed only while the device was throttled" in said and f"fitted on {len(measured)}" in said


def test_more_than_a_few_are_too_many(run):
    count = int(MOST_THROTTLED * len(plan_of(run).networks)) + 1
    profiled(run, networks(run, count))
    with pytest.raises(RunFolderError, match=rf"{count} of \d+ networks .* when it is cool and quiet"):
        planned_measurements(run)


def test_the_reference_is_never_left_out(run):
    profiled(run, [plan_of(run).reference])
    with pytest.raises(RunFolderError, match="1 of"):
        planned_measurements(run)


def test_what_was_never_timed_is_not_left_out(run):
    profiled(run, [])
    lines = run.measurements.read_text().splitlines(keepends=True)
    run.measurements.write_text("".join(lines[:-1]))
    with pytest.raises(RunFolderError, match="1 of"):
        planned_measurements(run)


def test_a_run_that_goes_on_does_not_time_what_its_predictor_does_without(run, monkeypatch):
    run.folder.predictor.mkdir(parents=True)
    monkeypatch.setattr("search.steps.search.search", lambda *_, **__: (_ for _ in ()).throw(InterruptedError))
    run.open_device = lambda step: pytest.fail("the device was opened")
    with pytest.raises(InterruptedError):
        run_all(run, Console(quiet=True))
