"""Everybody with all paths in memory stands over each of our steps, judged at one number of candidates."""

from __future__ import annotations

import pytest

from benchmarks import peers_candidates
from benchmarks.claims import Options
from benchmarks.peers_candidates import OUR_ALL_PATHS, claims, commands
from benchmarks.peers_environment import PeersUnavailable


def found(factor: float) -> dict[str, tuple[list[float], float]]:
    return {
        "full": ([2.0, 4.0], 10.0),
        "two-path": ([1.0, 2.0], 20.0),
        OUR_ALL_PATHS: ([2.0 * factor, 4.0 * factor], 10.0 * factor),
    }


def test_ratios_are_judged_at_one_count_and_told_for_all():
    time, memory, *_ = claims({3: found(3.0), 15: found(12.0)}, 15, "nni 3.0")
    assert (time.value, memory.value) == (12.0, 12.0)
    assert time.holds and memory.holds
    assert "with 3, 15 candidates: 3.0, 12.0" in str(time.note)
    assert "with 3, 15 candidates: 3.0, 12.0" in str(memory.note)


def test_our_own_steps_are_no_rows():
    rows = list(claims({6: found(4.0)}, 6, ""))
    assert [row.holds for row in rows] == [False] * 4
    assert all(row.claim.startswith(OUR_ALL_PATHS) for row in rows)


def test_without_the_peers_their_rows_say_why_and_ours_are_measured(monkeypatch):
    def missing(_limit_s: float) -> str:
        raise PeersUnavailable("no index")

    asked: list[list[str]] = []

    def contest(programs, _turns):
        asked.append(list(programs))
        return found(2.0)

    monkeypatch.setattr(peers_candidates, "peers_python", missing)
    monkeypatch.setattr(peers_candidates, "contest", contest)
    rows = list(peers_candidates.measure(Options(quick=True)))
    assert [row.note for row in rows if row.value is None] == ["no index"] * 4
    assert asked == [["full", "two-path", OUR_ALL_PATHS]] * 2
    assert any(row.value == pytest.approx(2.0) for row in rows)


def test_peers_are_asked_for_the_same_number_of_candidates():
    made = commands({"NNI": ["python", "-m", "darts"]}, 9)
    assert made["NNI"][-1] == "plain-9"
    assert made["full"][-2:] == ["full", "9"]
