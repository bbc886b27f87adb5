"""A profile within so many minutes: what it times, that it goes on where it was stopped, and what a fit is given."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.measurement_file import read_measurements
from search.errors import RunFolderError
from search.networks import reference_network
from search.run import Run, open_run, start_run
from search.run_settings import RunSettings
from search.steps.profile import describe_remaining, plan_of, planned_measurements, profile, remaining
from tests.search.made_up_session import MadeUpSession
from tests.search.quick_device import QUICK_DEVICE

MINUTES = 0.05


@pytest.fixture
def settings(tmp_path) -> RunSettings:
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE.replace("round_count: 5", "round_count: 400"))
    return RunSettings(device=str(tmp_path / "device.yaml"), data="digits", target=None, preset="demo", minutes=MINUTES)


class Stopped(MadeUpSession):
    """A user's interrupt after some models."""

    def time_models(self, models, *, canary, company=(), plan=None, on_progress=None):
        for index, timing in enumerate(super().time_models(models, canary=canary)):
            if index == self.stop_after:
                raise KeyboardInterrupt
            yield timing


def profiled(settings, folder, session_type=MadeUpSession) -> tuple[Run, MadeUpSession]:
    run = start_run(folder, settings)
    session = session_type(run.device)
    session.stop_after = 2
    run.open_device = lambda step: nullcontext(session)
    return run, session


def test_what_does_not_fit_is_chosen_from_and_the_dry_run_says_so(settings, tmp_path):
    run = Run(tmp_path / "run", settings)
    plan, everything = remaining(run), plan_of(run).networks
    assert 0 < plan.op_count + plan.network_count < len(everything)
    words = describe_remaining(run)
    assert str(plan) in words and "do not fit into 0.05 minutes" in words
    assert "do not fit" not in describe_remaining(
        Run(tmp_path / "run", RunSettings(**vars(settings) | {"minutes": 600}))
    )


def test_a_stopped_profile_goes_on_and_the_reference_is_timed_first(settings, tmp_path):
    run, session = profiled(settings, tmp_path / "run", Stopped)
    with pytest.raises(KeyboardInterrupt):
        profile(run, Console(quiet=True))
    wanted = paid_ops(reference_network(run.space))
    assert wanted in {m.paid_ops for m in read_measurements(run.measurements).measurements}

    run, session = profiled(settings, tmp_path / "run")
    left = len(remaining(run).networks) + remaining(run).later_op_count
    profile(run, Console(quiet=True))
    assert len(session.timed) == left
    assert remaining(run).is_finished
    measured = planned_measurements(run)
    assert wanted in {m.paid_ops for m in measured.measurements}
    assert len(measured) == len(read_measurements(run.measurements))


def test_without_the_reference_a_limited_profile_is_not_finished(settings, tmp_path):
    run, _ = profiled(settings, tmp_path / "run")
    profile(run, Console(quiet=True))
    lines = run.measurements.read_text().splitlines(keepends=True)
    wanted = paid_ops(reference_network(run.space))
    kept = [
        line
        for line, m in zip(lines, read_measurements(run.measurements).measurements, strict=True)
        if m.paid_ops != wanted
    ]
    run.measurements.write_text("".join(kept))
    with pytest.raises(RunFolderError, match="1 of 1 networks"):
        planned_measurements(run)


def test_the_minutes_may_be_raised_later_and_nothing_else(settings, tmp_path):
    start_run(tmp_path / "run", settings)
    start_run(tmp_path / "run", RunSettings(**vars(settings) | {"minutes": 9.0}))
    assert open_run(tmp_path / "run").settings.minutes == 9
    with pytest.raises(RunFolderError, match="minutes"):
        start_run(tmp_path / "run", RunSettings(**vars(settings) | {"minutes": 1.0}))
    with pytest.raises(RunFolderError, match="minutes"):
        start_run(tmp_path / "run", RunSettings(**vars(settings) | {"minutes": None}))
