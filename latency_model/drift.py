"""Drift: a device that grows slower or faster while it is measured. Detected by a test, corrected when it says so.

Whatever is measured in order can show it: canary samples of a campaign, or the residuals of a predictor. The level
at one moment is read from its neighbours in time, never from the measurement itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray
from latency_model.measurement import Measurement, MeasurementSet
from profiler_agent.device import TimingPlan
from profiler_agent.stability import agreeing_sessions, session_canary_ms

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
LEAST_LENGTH = 20
_SIGNIFICANCE = 1e-3
_LEAST_GAIN = 0.05
_HALF_WINDOWS = (1, 2, 4, 8, 16, 32)
# A few wild samples must not pass for drift in the test: residuals beyond this many robust deviations are cut.
_CUT = 4.0
_TIE = 1e-9
_LEAST_OF_A_BATCH = 3


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Whether a series drifts, and what following it would gain.

    Attributes:
        moment_count: how many were looked at; a test needs twenty.
        lag_correlation: of neighbours in time.
        p_value: how likely a series without drift shows that much (one-sided).
        half_window: neighbours on each side that tell the level best; None when nothing is gained.
        gain: share of the mean absolute residual that following the level removes, judged on left-out samples.
        canary_range: how much longer the canary took at its slowest than at its fastest; None of another series.
        is_corrected: whether latencies were divided by the canary's level.
    """

    moment_count: int
    lag_correlation: float
    p_value: float
    half_window: int | None
    gain: float
    canary_range: float | None = None
    is_corrected: bool = False

    @property
    def is_drifting(self) -> bool:
        if self.canary_range is not None:
            return self.is_corrected
        return self.follows_a_course

    @property
    def follows_a_course(self) -> bool:
        """Whether the test tells the series from noise."""
        return self.half_window is not None and self.p_value < _SIGNIFICANCE and self.gain >= _LEAST_GAIN


def detect_drift(log_residuals: FloatArray, known: BoolArray | None = None) -> DriftReport:
    """Test a series in order of measurement.

    Args:
        log_residuals: (n,) log of measured over predicted, or of a canary over its median.
        known: (n,) which entries were measured; all when left out.
    """
    known = np.isfinite(log_residuals) if known is None else known
    series = log_residuals[known]
    if len(series) < LEAST_LENGTH or np.ptp(series) == 0:
        return DriftReport(moment_count=len(series), lag_correlation=0.0, p_value=1.0, half_window=None, gain=0.0)
    cut = _without_extremes(series)
    centred = cut - cut.mean()
    correlation = float(centred[1:] @ centred[:-1] / (centred @ centred))
    # Without drift the lag-1 correlation is about normal around -1/n with variance 1/n (Bartlett, 1946).
    statistic = (correlation + 1 / len(series)) * np.sqrt(len(series))
    before = float(np.abs(series - np.median(series)).mean())
    gains = {
        half: 1.0 - float(np.abs((log_residuals - local_level(log_residuals, known, half))[known]).mean()) / before
        for half in _HALF_WINDOWS
    }
    best = max(gains, key=lambda half: gains[half])
    useful = gains[best] > 0
    return DriftReport(
        moment_count=len(series),
        lag_correlation=correlation,
        p_value=_upper_tail(float(statistic)),
        half_window=best if useful else None,
        gain=max(gains[best], 0.0),
    )


def local_level(log_residuals: FloatArray, known: BoolArray, half_window: int) -> FloatArray:
    """(n,) level at each moment: weighted median of the known neighbours, itself left out.

    A median follows a jump at once (a cold start, a throttled minute) and forgets a single wild sample. Weights
    fall linearly to the window's edge. Where no neighbour is known the median of all known entries stands in.
    """
    values = np.where(known, np.nan_to_num(log_residuals), np.nan)
    padded = np.pad(values, half_window, constant_values=np.nan)
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, 2 * half_window + 1)
    steps = np.abs(np.arange(-half_window, half_window + 1))
    weights = np.where(np.isnan(neighbours), 0.0, (half_window + 1.0 - steps) * (steps > 0))
    order = np.argsort(neighbours, axis=1)  # unknown entries last
    ordered = np.take_along_axis(np.nan_to_num(neighbours), order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    total = reached[:, -1:]
    lower, upper = (
        np.take_along_axis(ordered, np.argmax(reached >= total / 2 + nudge, axis=1)[:, None], axis=1)[:, 0]
        for nudge in (-_TIE, _TIE)
    )
    middle = float(np.median(log_residuals[known]))
    return np.asarray(np.where(total[:, 0] > 0, (lower + upper) / 2, middle))


def _without_extremes(series: FloatArray) -> FloatArray:
    middle = np.median(series)
    spread = 1.4826 * float(np.median(np.abs(series - middle)))
    return series if spread == 0 else np.asarray(series.clip(middle - _CUT * spread, middle + _CUT * spread))


def _upper_tail(statistic: float) -> float:
    from scipy.stats import norm  # noqa: PLC0415 - slow to import

    return float(norm.sf(statistic))


def canary_ms(measurement: Measurement) -> float | None:
    """The canary in the sessions that the measurement's verdict stands on; None where there was none."""
    plan = measurement.plan
    sessions = agreeing_sessions(measurement.timing.sessions, plan)
    values = [value for session in sessions if (value := session_canary_ms(session, plan)) is not None]
    return float(np.median(values)) if values else None


def pace_since(earlier: MeasurementSet, measurement: Measurement) -> float | None:
    """How slow the device was at a measurement: its canary over the median of the earlier ones'. None where a canary
    is missing."""
    now_ms = canary_ms(measurement)
    then_ms = [value for one in earlier.measurements if (value := canary_ms(one)) is not None]
    return None if now_ms is None or not then_ms else float(now_ms / np.median(then_ms))


def correct_drift(measurements: MeasurementSet) -> tuple[MeasurementSet, DriftReport]:
    """Divide each latency by how slow the canary was beside it, if the canary drifted (``canary_level``).

    The raw timings stay as they are; only the figures that predictors read are changed.

    Returns:
        The set to fit on, the same one when nothing drifts, and the report to record beside the predictor.
    """
    canaries = [canary_ms(measurement) for measurement in measurements.measurements]
    if any(value is None for value in canaries) or not canaries:
        return measurements, detect_drift(np.zeros(0))
    plan = measurements.measurements[0].plan
    log_canary = np.log(np.array(canaries, dtype=np.float64))
    level, report = canary_level(log_canary, plan, _batches(measurements.measurements))
    if not report.is_drifting:
        return measurements, report
    factors = np.exp(level)
    corrected = tuple(_scaled(m, 1.0 / float(f)) for m, f in zip(measurements.measurements, factors, strict=True))
    return MeasurementSet(corrected), report


def canary_level(
    log_canary: FloatArray, plan: TimingPlan, batches: IntArray | None = None
) -> tuple[FloatArray, DriftReport]:
    """How slow the device was at each measurement, by a canary beside it.

    Batches differ when their medians do by more than sessions may. What is left drifted when it followed a course that
    the test tells from noise and that is larger than what sessions may differ by, or, of sessions too few for a test,
    when its range alone is beyond the plan's canary limit.

    Args:
        log_canary: (n,) in order of measurement; networks of one session share theirs.
        batches: (n,) equal numbers were timed together; one batch where left out.
    Returns:
        (n,) log of the level over its median, zeros when nothing drifts, and the report. Where more than the nearest
        neighbours tell a canary's value best, it is too noisy to divide by: their level then stands for it.
    """
    between = np.zeros(len(log_canary)) if batches is None else _level_of_batches(log_canary, batches, plan)
    # Only changes of the canary count as separate moments.
    changes = np.concatenate([[True], np.diff(log_canary) != 0])
    moments = (log_canary - between)[changes]
    report = detect_drift(moments - np.median(moments))
    follows_a_course = report.is_drifting and np.ptp(moments) > plan.spread_limit
    has_jumped = len(moments) < LEAST_LENGTH and np.ptp(moments) > plan.canary_limit
    if not follows_a_course and not has_jumped:
        of_all = _range_of(log_canary)
        return between, dataclasses.replace(report, canary_range=of_all, is_corrected=bool(between.any()))
    if follows_a_course and report.half_window is not None and report.half_window > 1:
        moments = local_level(moments, np.ones(len(moments), dtype=bool), report.half_window)
    level = between + moments[np.cumsum(changes) - 1]
    report = dataclasses.replace(report, canary_range=_range_of(level), is_corrected=True)
    return level - np.median(level), report


def _batches(measurements: Sequence[Measurement]) -> IntArray:
    """(n,) those that one run of the agent began with share what the device told before it."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(repr(m.timing.facts_before), len(numbers)) for m in measurements])


def _level_of_batches(log_canary: FloatArray, batches: IntArray, plan: TimingPlan) -> FloatArray:
    """(n,) median of each one's batch over that of all; zeros where batches differ by no more than sessions may. Two
    canaries are no batch to go by until they are beyond the plan's canary limit."""
    level = np.zeros(len(log_canary))
    for batch in np.unique(batches):
        own = batches == batch
        distance = float(np.median(log_canary[own]) - np.median(log_canary))
        if own.sum() >= _LEAST_OF_A_BATCH or abs(distance) > plan.canary_limit:
            level[own] = distance
    return level if np.ptp(level) > plan.spread_limit else np.zeros(len(log_canary))


def _range_of(log_canary: FloatArray) -> float:
    return float(np.expm1(np.ptp(log_canary)))


def _scaled(measurement: Measurement, factor: float) -> Measurement:
    report = dataclasses.replace(measurement.report, latency_ms=measurement.latency_ms * factor)
    return dataclasses.replace(measurement, report=report)


def describe_drift(report: DriftReport) -> str:
    """One line for people and for the record: what was found, and what was done about it."""
    if report.moment_count == 0:
        return "drift: not known, as not every network was timed beside a canary"
    correlation = f"neighbours in time correlate {report.lag_correlation:.2f}, p = {report.p_value:.2g}"
    if report.canary_range is None:
        if report.is_drifting:
            return f"drift ({correlation}); following it removes {report.gain:.0%} of the deviation"
        return f"no drift ({correlation})"
    canary = f"the canary took {report.canary_range:.1%} longer at its slowest than at its fastest"
    if report.is_corrected:
        return f"drift: {canary}; each latency is corrected by the canary beside it"
    if report.moment_count < LEAST_LENGTH:
        return f"no drift seen: {canary} (moments: {report.moment_count}, too few for a test)"
    if report.follows_a_course:
        return f"no drift to correct: {canary} ({correlation}), less than what sessions may differ by"
    return f"no drift: {canary} ({correlation})"
