"""Forwards are counted pass by pass; landings and exports become rows that tell of both sides."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks import peers_search
from benchmarks.claims import Options
from benchmarks.peers_environment import PeersUnavailable
from benchmarks.peers_forwards import ForwardCounter
from benchmarks.peers_search import Landing, export_claims, forward_claims, landing_claims, our_forwards
from benchmarks.peers_space import peer_data, peer_space
from search.paths import fixed_paths, sample_full_gates
from search.spaces.small import small_space
from search.supernet import SuperNet


def nni_run(argmax: float, exports: tuple[float, ...], argmax_share: float, *, has_gradient: bool) -> dict[str, object]:
    return {
        "argmax": argmax,
        "exports": list(exports),
        "argmax_share": argmax_share,
        "expected": 1.0,
        "has_gradient": has_gradient,
    }


def test_candidates_that_run_in_backward_are_counted_with_the_pass_that_asked_for_them():
    space = small_space((1, 16, 16), 10)
    space = dataclasses.replace(
        space, positions=tuple(dataclasses.replace(p, candidates=p.candidates[:3]) for p in space.positions)
    )
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    counter = ForwardCounter(supernet.stem, [mixed_op.candidates for mixed_op in supernet.mixed_ops])
    images = torch.randn(4, 1, 16, 16)
    supernet(images, fixed_paths((0,) * len(space.positions)))
    uniform = [torch.full((3,), 1 / 3) for _ in space.positions]
    supernet(images, sample_full_gates(uniform, torch.Generator().manual_seed(0))).sum().backward()
    assert (counter.per_position(0), counter.per_position(1)) == (1.0, 3.0)


@pytest.mark.parametrize(("estimator", "expected"), [("full", 3.0), ("two-path", 2.0)])
def test_an_architecture_step_of_ours_runs_the_candidates_that_its_estimator_asks_for(estimator, expected, monkeypatch):
    monkeypatch.setattr(peers_search, "BATCH", 4)
    assert our_forwards(estimator, "plain-3") == {"weight": 1.0, "architecture": expected}


def test_a_plain_space_has_so_many_candidates_everywhere():
    assert set(peer_space("plain-6", peer_data()).candidate_counts) == {6}


def test_a_peer_that_runs_fewer_candidates_makes_us_fall_short(monkeypatch):
    monkeypatch.setattr(peers_search, "our_forwards", lambda *_: {"weight": 1.0, "architecture": 6.0})
    weight, architecture, *_ = forward_claims({"weight": 6.0, "architecture": 2.0}, "versions")
    assert (weight.holds, architecture.holds) == (True, False)
    assert "versions" in str(weight.note)


def test_without_the_peers_each_question_is_a_row_that_says_why(monkeypatch):
    def missing(_limit_s: float) -> str:
        raise PeersUnavailable("no index")

    monkeypatch.setattr(peers_search, "peers_python", missing)
    rows = list(peers_search.measure(Options(quick=True)))
    assert [(row.value, row.note) for row in rows] == [(None, "no index")] * 3


def test_a_landing_is_judged_by_its_worst_search_and_beside_the_peer_by_the_mean():
    ours = [Landing(1.0, 0.995, 1.0), Landing(1.04, 0.98, 1.0)]
    theirs = {"as shipped": [nni_run(1.2, (1.1, 0.7, 1.2), 0.0, has_gradient=False)] * 2}
    derived, argmax, argmax_ratio, handed_over = landing_claims(ours, theirs)
    assert derived.value == pytest.approx(0.02)
    assert argmax.value == pytest.approx(0.04)
    assert argmax_ratio.value == pytest.approx(0.02 / 0.2)
    assert "0 of 2 penalties have a gradient" in str(argmax_ratio.note)
    assert handed_over.value == pytest.approx(0.0125 / 0.2)


def test_what_the_peers_exports_are_is_a_fact_that_claims_nothing_of_ours():
    theirs = {"as shipped": [nni_run(1.0, (1.0,), 0.4, has_gradient=False)]}
    own, other = export_claims([Landing(1.0, 1.0, 0.5)], theirs)
    assert (own.value, own.holds) == (0.5, False)
    assert (other.value, other.holds) == (0.4, None)
