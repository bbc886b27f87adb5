"""Random networks that are added to a run later: found on a device that is slower by then, too."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from latency_model.measurement import paid_ops
from search.errors import TargetError
from search.files import write_json
from search.ship import baseline
from search.space import SearchSpace
from search.spaces.small import small_space
from tests.search.conftest import target_from_macs


@pytest.fixture
def small() -> SearchSpace:
    return small_space((1, 16, 16), 10)


def run_in(folder, space, target):
    """A run that derived nothing but its corrected budget, on a device that is priced by multiply-accumulates."""
    by_ops = {
        c.op: ms
        for p, row in zip(space.positions, target.path_latency_ms, strict=True)
        for c, ms in zip(p.candidates, row, strict=True)
    }

    def predict_network(ops):
        return SimpleNamespace(latency_ms=target.fixed_ms + sum(float(by_ops.get(op, 0.0)) for op in ops))

    write_json(folder / "derivation.json", {"corrected_target_ms": target.target_ms})
    return SimpleNamespace(
        folder=SimpleNamespace(path=folder, derivation=folder / "derivation.json"),
        settings=SimpleNamespace(seed=0),
        space=space,
        predictor=SimpleNamespace(predict_network=predict_network),
        read_network=lambda name: space.network((0,) * len(space.positions), name),
        timed=lambda step: nullcontext(),
        open_device=lambda step: nullcontext(),
    )


@pytest.mark.parametrize("slowdown", [1.0, 1.3])
def test_on_a_device_slower_than_when_the_run_derived_networks_are_drawn_for_less(
    tmp_path, small, monkeypatch, slowdown
):
    reach = target_from_macs(small, 1.0)
    middle_ms = reach.network_ms(tuple(len(p.candidates) // 2 for p in small.positions))
    target = target_from_macs(small, middle_ms)
    run = run_in(tmp_path, small, target)
    taken = {}

    def measured_ms(run, session, networks):
        taken.update({paid_ops(n): slowdown * run.predictor.predict_network(n.ops).latency_ms for n in networks})
        return taken

    monkeypatch.setattr(baseline, "fix_targets", lambda run: [target])
    monkeypatch.setattr(baseline, "added_baselines", lambda folder: [])
    monkeypatch.setattr(baseline, "measured_ms", measured_ms)
    networks = baseline._choose(run, 2)
    assert len({paid_ops(network) for network in networks}) == 2
    assert all(0.8 * target.target_ms < taken[paid_ops(network)] <= target.target_ms for network in networks)


def test_a_device_on_which_nothing_meets_the_budget_is_told(tmp_path, small, monkeypatch):
    target = target_from_macs(small, 2 * target_from_macs(small, 1.0).network_ms((0,) * len(small.positions)))
    monkeypatch.setattr(baseline, "fix_targets", lambda run: [target])
    monkeypatch.setattr(baseline, "added_baselines", lambda folder: [])
    monkeypatch.setattr(baseline, "measured_ms", lambda run, session, networks: {paid_ops(n): 9.0 for n in networks})
    with pytest.raises(TargetError, match="only 0 more random networks"):
        baseline._choose(run_in(tmp_path, small, target), 1)
