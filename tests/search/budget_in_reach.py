"""Budgets for runs whose device a busy machine timed for a moment."""

from __future__ import annotations

from pathlib import Path

from search.budget import latency_range_ms
from search.run import open_run
from search.steps.search import latency_target


def budget_ms(folder: Path, share: float) -> str:
    """A budget at this share of what the predictor says is in reach: a fraction of the reference, which a busy machine
    timed for a moment, may lie outside."""
    run_of = open_run(folder)
    reach = latency_target(run_of.space, run_of.predictor, 1.0, "reach")
    fastest_ms, slowest_ms = latency_range_ms(reach.path_latency_ms, reach.fixed_ms)
    return f"{fastest_ms + share * (slowest_ms - fastest_ms):.4g}"
