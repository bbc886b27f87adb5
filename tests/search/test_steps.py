"""Steps of a run: the target is fixed and refused, a foreign predictor is refused, choices follow the device."""

from __future__ import annotations

import dataclasses
import json
import random
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latency_model.growth import NO_GROWTH
from latency_model.network import NetworkSpec
from search.budget import latency_range_ms
from search.derive import Derivation, Judged
from search.errors import BudgetMissed, RunFolderError, TargetError
from search.run import Run
from search.run_settings import RunSettings, Target, keep_settings, parse_target, read_settings, read_started
from search.steps import derive as derive_step
from search.steps.derive import choose_on_device, describe_margins, random_networks
from search.steps.fit import adopt_predictor
from search.steps.profile import profile_plan
from search.steps.search import fix_targets, latency_target
from tests.search.conftest import target_from_macs


class FlatPredictor:
    """Every op costs 0.01 ms, every network 0.005 ms on top."""

    sum_constant_ms, growth = 0.005, NO_GROWTH

    def sum_contribution_ms(self, ops):
        return np.array([0.0 if op.kind in ("zero", "identity") else 0.01 for op in ops])


def fake_run(space, tmp_path, target):
    folder = SimpleNamespace(target=tmp_path / "target.json", path=tmp_path)
    device = SimpleNamespace(name="here")
    settings = SimpleNamespace(seed=0)
    return SimpleNamespace(
        space=space, predictor=FlatPredictor(), folder=folder, device=device, target=target, settings=settings
    )


def test_a_budget_out_of_reach_is_refused_with_the_reachable_range(space, tmp_path):
    run = fake_run(space, tmp_path, parse_target(None, 0.02))
    with pytest.raises(TargetError, match=r"0\.055 to 0\.065 ms on here"):
        fix_targets(run)
    assert not run.folder.target.exists()


def test_a_target_that_was_fixed_does_not_move(space, tmp_path):
    assert [t.target_ms for t in fix_targets(fake_run(space, tmp_path, parse_target(None, 0.06)))] == [0.06]
    assert [t.target_ms for t in fix_targets(fake_run(space, tmp_path, parse_target(None, 0.05)))] == [0.06]


def test_a_fraction_is_of_the_reference():
    assert parse_target("0.6xmobilenetv2", None).resolve_ms(0.5) == pytest.approx(0.3)
    assert parse_target(None, 0.8).resolve_ms(0.5) == 0.8


def test_a_target_is_given_once():
    with pytest.raises(TargetError, match="one of the two"):
        parse_target("0.6xmobilenetv2", 0.8)


def test_settings_are_read_back_and_a_target_may_be_added_later(tmp_path):
    path = tmp_path / "settings.json"
    settings = RunSettings(device="d.yaml", data="digits", target=None)
    keep_settings(path, settings)
    with_target = dataclasses.replace(settings, target=Target(milliseconds=0.8))
    keep_settings(path, with_target)
    assert read_settings(path) == with_target


def test_a_run_remembers_when_it_was_first_started(tmp_path):
    path = tmp_path / "settings.json"
    settings = RunSettings(device="d.yaml", data="digits", target=None)
    first, later = (datetime(2026, 3, day, 9, 30, 0, 250, tzinfo=timezone.utc) for day in (1, 2))
    keep_settings(path, settings, now=lambda: first)
    keep_settings(path, dataclasses.replace(settings, target=Target(milliseconds=0.8)), now=lambda: later)
    assert read_started(path) == "2026-03-01T09:30:00+00:00"


def test_a_run_begun_before_starts_were_kept_says_so_and_is_read(tmp_path):
    path = tmp_path / "settings.json"
    settings = RunSettings(device="d.yaml", data="digits", target=Target(milliseconds=0.8))
    path.write_text(json.dumps({"schema": 1, **dataclasses.asdict(settings)}))
    assert read_started(path) is None and read_settings(path) == settings


def test_the_time_that_a_step_had_the_device_in_use_adds_up_also_after_an_error(tmp_path, monkeypatch):
    @contextmanager
    def opened(device):
        yield SimpleNamespace(device=device, device_s=1.25)

    monkeypatch.setattr("profiler_agent.session.open_session", opened)
    run = Run(tmp_path, RunSettings(device="d.yaml", data="digits", target=None))
    run.device = "d"
    with run.open_device("verify") as session:
        assert session.device == "d"
    with pytest.raises(KeyError), run.open_device("verify"):
        raise KeyError
    assert run.device_seconds() == {"verify": 2.5} and run.seconds() == {}


def test_a_run_that_has_a_predictor_takes_no_other_one_in_silence(tmp_path, monkeypatch):
    own, other = (
        SimpleNamespace(provenance=SimpleNamespace(fitted_at=when), constant_ms=0.1) for when in ("today", "tomorrow")
    )
    run = Run(tmp_path, RunSettings(device="d.yaml", data="digits", target=None))
    run.folder.predictor.mkdir()
    run.predictor = own
    monkeypatch.setattr("search.steps.fit.load_network_latency", lambda folder: own)
    adopt_predictor(run, Path("own"))
    monkeypatch.setattr("search.steps.fit.load_network_latency", lambda folder: other)
    with pytest.raises(RunFolderError, match=r"fitted today.* not the one in other \(fitted tomorrow.*--predictor"):
        adopt_predictor(run, Path("other"))


def test_a_profile_plan_depends_on_space_and_seed_alone(space):
    first, again = (profile_plan(space, 4, 3, seed=1) for _ in range(2))
    other = profile_plan(space, 4, 3, seed=2)
    assert first == again != other
    assert len(first.calibration) == 4 and len(first.held_out) == 3


@pytest.mark.parametrize(("constant_ms", "fastest_ms"), [(3.0, 6.0), (0.5, 3.5), (-0.5, 2.5), (-9.0, 2.0)])
def test_a_negative_constant_takes_off_what_it_takes_off_a_network_of_the_target(space, constant_ms, fastest_ms):
    fixed_ms = 3.0 / len(space.fixed_layers)  # every candidate but the fixed layers is free

    def sum_contribution_ms(ops):
        fixed = [op for _, op in space.fixed_layers]
        return np.array([fixed_ms if op in fixed else 0.0 for op in ops])

    predictor = SimpleNamespace(sum_constant_ms=constant_ms, sum_contribution_ms=sum_contribution_ms, growth=NO_GROWTH)
    target = latency_target(space, predictor, 3.0, "device")
    assert target.network_ms((0,) * len(space.positions)) == pytest.approx(fastest_ms)
    assert target.latency_loss().fixed_ms > 0
    far_above = latency_target(space, predictor, 300.0, "device")
    assert far_above.network_ms((0,) * len(space.positions)) > 0


def test_random_baselines_lie_just_under_the_target(space):
    target = target_from_macs(space, 0.055)
    networks = random_networks(space, target, random.Random(0))
    sizes = {network.ops: network for network in networks}
    assert networks and len(sizes) == len(networks)


def judged(space, target, choices, loss):
    return Judged(
        choices=choices,
        predicted_ms=target.network_ms(choices),
        held_out_loss=loss,
        held_out_accuracy=0.5,
        ranked_loss=loss,
    )


def derivation_of(space, target, fitting):
    found = tuple(judged(space, target, choices, loss=float(rank)) for rank, choices in enumerate(fitting))
    return Derivation(best=found[0], argmax=(0, 0), argmax_ms=1.0, entropy=(), margin=(), judged=found)


def test_the_margins_name_the_positions_of_which_the_search_is_least_sure_first(space):
    first, second = (position.name for position in space.positions)
    assert describe_margins(space, (0.6, 0.04)).endswith(f"least sure first: {second} 0.04, {first} 0.60")


def chosen_on_a_slower_device(space, run, monkeypatch, target, slowdown):
    """What is derived where every network takes ``slowdown`` times what was predicted."""
    every = sorted(((a, b) for a in range(2) for b in range(3)), key=lambda choices: -target.network_ms(choices))

    def derive_for(target_ms):
        return derivation_of(space, target, [c for c in every if target.network_ms(c) <= target_ms][:1])

    def measured_ms(run, session, networks: list[NetworkSpec]):
        by_ops = {space.network(c).ops: target.network_ms(c) for c in every}
        return {derive_step.paid_ops(n): slowdown * by_ops.get(n.ops, 0.05) for n in networks}

    monkeypatch.setattr(derive_step, "measured_ms", measured_ms)
    return choose_on_device(run, None, [target], derive_for)[1]


@pytest.mark.parametrize("slowdown", [1.0, 1.15])
def test_a_network_that_misses_the_budget_on_the_device_is_not_derived(space, tmp_path, monkeypatch, slowdown):
    target = target_from_macs(space, 0.06)
    chosen = chosen_on_a_slower_device(space, fake_run(space, tmp_path, None), monkeypatch, target, slowdown)
    assert chosen.measured_ms["derived"] <= target.target_ms
    assert chosen.measured_ms["derived"] == pytest.approx(slowdown * chosen.derived.predicted_ms)


def test_on_a_device_far_slower_than_predicted_the_budget_is_corrected_until_a_network_meets_it(
    space, tmp_path, monkeypatch
):
    fastest_ms, slowest_ms = latency_range_ms(*reach_of(target_from_macs(space, 0.06)))
    target = target_from_macs(space, 1.01 * slowest_ms)
    slowdown = 0.99 * target.target_ms / fastest_ms
    assert slowdown > 1.3
    chosen = chosen_on_a_slower_device(space, fake_run(space, tmp_path, None), monkeypatch, target, slowdown)
    assert chosen.measured_ms["derived"] <= target.target_ms


@pytest.mark.parametrize(
    ("pace", "is_relative", "expected_ms"),
    [
        (0.8, False, 2.5),  # a fast moment is not believed
        (1.25, False, 2.0),
        (0.8, True, 2.5),
        (1.25, True, 1.6),  # the reference was timed at the profile's pace
        (None, True, 2.0),
    ],
)
def test_a_budget_is_held_against_latencies_at_the_pace_of_the_profile(monkeypatch, pace, is_relative, expected_ms):
    monkeypatch.setattr(derive_step, "pace_since", lambda profiled, measurement: pace)
    measurement = SimpleNamespace(latency_ms=2.0)
    assert derive_step.judged_ms(measurement, object(), is_relative=is_relative) == pytest.approx(expected_ms)
    assert derive_step.judged_ms(measurement, None, is_relative=is_relative) == 2.0


def test_of_several_measurements_the_median_counts(monkeypatch):
    measured = [SimpleNamespace(latency_ms=ms) for ms in (3.0, 1.0, 2.0)]
    monkeypatch.setattr(derive_step, "measured_networks", lambda run, session, networks: {("ops",): measured})
    monkeypatch.setattr(derive_step, "profile_if_any", lambda run: None)
    run = SimpleNamespace(target=SimpleNamespace(reference=None))
    assert derive_step.measured_ms(run, None, []) == {("ops",): 2.0}


def test_where_no_network_meets_the_budget_one_that_misses_it_by_what_is_noise_is_derived(space, tmp_path, monkeypatch):
    fastest_ms, _ = latency_range_ms(*reach_of(target_from_macs(space, 0.06)))
    target = target_from_macs(space, fastest_ms)
    run = fake_run(space, tmp_path, None)
    chosen = chosen_on_a_slower_device(space, run, monkeypatch, target, slowdown=1.02)
    assert chosen.measured_ms["derived"] == pytest.approx(1.02 * fastest_ms)
    with pytest.raises(BudgetMissed):
        chosen_on_a_slower_device(space, run, monkeypatch, target, slowdown=1.04)


def test_no_budget_below_the_fastest_network_is_tried(space, tmp_path, monkeypatch):
    fastest_ms, _ = latency_range_ms(*reach_of(target_from_macs(space, 0.06)))
    target = target_from_macs(space, 1.1 * fastest_ms)
    with pytest.raises(BudgetMissed, match=r"No derived network met .* ms on here; the fastest took .* took 200.0% or"):
        chosen_on_a_slower_device(space, fake_run(space, tmp_path, None), monkeypatch, target, slowdown=3.0)


def reach_of(target):
    return target.path_latency_ms, target.fixed_ms
