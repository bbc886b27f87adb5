"""A regressor with honest intervals: cross-validated errors of the log latency, by kind of op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_model.errors import UnknownOpError
from latency_model.features import FloatArray, is_free
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec
from latency_model.predictors.conformal import conformal_quantile, folds
from latency_model.predictors.distinct import predict_once_each
from latency_model.predictors.protocol import PredictedLatency

FOLD_COUNT = 10
# Fewer errors of one kind of op than this say too little; then the errors of all kinds decide.
_LEAST_ERRORS_OF_A_KIND = 20

Predict = Callable[[Sequence[OpSpec]], FloatArray]
Fit = Callable[[OpTimings, int], Predict]


@dataclass(frozen=True, kw_only=True)
class LogIntervals:
    """Interval half-widths in log latency: per kind of op where enough was seen, else common."""

    common: float
    by_kind: dict[str, float]

    def of(self, ops: Sequence[OpSpec]) -> FloatArray:
        return np.array([self.by_kind.get(op.kind, self.common) for op in ops])

    def around(self, mean_ms: FloatArray, ops: Sequence[OpSpec]) -> PredictedLatency:
        factor = np.exp(self.of(ops))
        return PredictedLatency(mean_ms, mean_ms / factor, mean_ms * factor)

    def describe(self) -> dict[str, Any]:
        return {
            "common_log_half_width": self.common,
            "log_half_width_by_kind": self.by_kind,
        }

    @classmethod
    def restore(cls, described: dict[str, Any]) -> LogIntervals:
        return cls(
            common=float(described["common_log_half_width"]),
            by_kind={kind: float(half) for kind, half in described["log_half_width_by_kind"].items()},
        )


def cross_validated_ms(timings: OpTimings, fit: Fit, seed: int, fold_count: int = FOLD_COUNT) -> FloatArray:
    """(ops,) each op as predicted by a model that was fitted without it."""
    predicted = np.empty(len(timings))
    for fitted_rows, judged_rows in folds(len(timings), min(fold_count, len(timings)), seed):
        predict = fit(timings.subset(fitted_rows), seed)
        predicted[judged_rows] = predict([timings.ops[row] for row in judged_rows])
    return predicted


def fit_intervals(timings: OpTimings, predicted_ms: FloatArray, confidence: float) -> LogIntervals:
    """Conformal half-widths from predictions made without the op itself."""
    scores = np.abs(np.log(predicted_ms / timings.latency_ms))
    kinds = np.array([op.kind for op in timings.ops])
    by_kind = {
        str(kind): conformal_quantile(scores[kinds == kind], confidence)
        for kind in sorted(set(kinds))
        if (kinds == kind).sum() >= _LEAST_ERRORS_OF_A_KIND
    }
    return LogIntervals(common=conformal_quantile(scores, confidence), by_kind=by_kind)


def kind_in_dtype(op: OpSpec) -> tuple[str, str]:
    """What must have been measured of an op: a regressor that speaks of another kind, or of numbers that the device
    computes with in another way, would be guessing."""
    return op.kind, op.dtype


def predict_with_intervals(
    ops: Sequence[OpSpec], predict: Predict, intervals: LogIntervals, known: Sequence[OpSpec]
) -> PredictedLatency:
    """Call the regressor on what costs something; free ops are 0.

    Args:
        known: what the regressor was fitted on.
    Raises:
        UnknownOpError: a kind of op that was never measured, or not in that dtype.
    """
    return predict_once_each(ops, lambda distinct: _predict_distinct(distinct, predict, intervals, known))


def _predict_distinct(
    ops: Sequence[OpSpec], predict: Predict, intervals: LogIntervals, known: Sequence[OpSpec]
) -> PredictedLatency:
    paid = np.flatnonzero(~is_free(ops))
    mean, low, high = np.zeros(len(ops)), np.zeros(len(ops)), np.zeros(len(ops))
    paid_ops = [ops[int(row)] for row in paid]
    measured = set(map(kind_in_dtype, known))
    unknown = [op for op in paid_ops if kind_in_dtype(op) not in measured]
    if unknown:
        kind, dtype = kind_in_dtype(unknown[0])
        in_dtype = f" in {dtype}" if any(kind == other for other, _ in measured) else ""
        raise UnknownOpError(unknown, known, f"no op of kind {kind!r} was measured{in_dtype}.")
    if paid_ops:
        found = intervals.around(predict(paid_ops), paid_ops)
        mean[paid], low[paid], high[paid] = found.mean_ms, found.low_ms, found.high_ms
    return PredictedLatency(mean, low, high)
