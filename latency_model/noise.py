"""Noise: how far the sessions of a device's timings are apart, in words. No predictor is surer than its timings."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from latency_model.measurement import Measurement, MeasurementSet


def describe_noise(measurements: MeasurementSet) -> str:
    """One line for people and for the record: how well the usable timings repeat from session to session."""
    timed = [one for one in measurements.usable() if one.plan.session_count > 1]
    if not timed:
        return "noise: not known, as nothing was timed in several sessions"
    limit = max(one.plan.spread_limit for one in timed)
    spreads = [one.spread for one in timed]
    noisy = sum(one.verdict != "accepted" for one in timed)
    apart = f"{median(spreads):.1%} in the median, {max(spreads):.1%} at most"
    if noisy == 0:
        said = f"noise: the sessions of all {len(timed)} timings agree within {limit:.0%} ({apart})"
    else:
        said = (
            f"noise: {noisy} of {len(timed)} timings are noisy (sessions differ by {apart}; {limit:.0%} are allowed), "
            "as on a busy or shared device; no prediction is surer than that"
        )
    return f"{said}{_other_quantiles(timed)}"


def _other_quantiles(timed: Sequence[Measurement]) -> str:
    """Figures of two quantiles have not one level."""
    quantiles = sorted({one.plan.low_quantile for one in timed})
    if len(quantiles) == 1:
        return ""
    found = " and ".join(f"{quantile:g}" for quantile in quantiles)
    return f"; some stand on another low quantile than others ({found}), so measure the older ones anew"
