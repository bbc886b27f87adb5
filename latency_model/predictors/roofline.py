"""A roofline-like linear model: time = work / speed + overhead, every speed non-negative.

It needs few samples, extrapolates sensibly, and is the base that trees and networks correct: on unseen phone-GPU
convolutions, 1,000 of them measured, boosted trees err by 9.0 % alone and by 6.6 % on top of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latency_model.features import FloatArray, OpColumns, op_columns, op_costs
from latency_model.op_json import op_from_json, op_to_json
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec
from latency_model.predictors.protocol import PredictedLatency
from latency_model.predictors.regression import (
    LogIntervals,
    cross_validated_ms,
    fit_intervals,
    predict_with_intervals,
)

LEAST_OPS = 5
TERMS = (
    "dense_macs",
    "depthwise_macs",
    "elementwise_values",
    "activation_bytes",
    "weight_bytes",
    "kernels",
    "constant",
)
_LEAST_MS = 1e-6


def roofline_terms(columns: OpColumns) -> FloatArray:
    """(ops, 7) the work of each op, in the order of TERMS."""
    costs = op_costs(columns)
    return np.column_stack(
        [
            costs.dense_macs,
            costs.depthwise_macs,
            costs.elementwise_values,
            costs.activation_bytes,
            costs.weight_bytes,
            costs.kernel_count,
            np.ones(len(columns.kind)),
        ]
    )


def fit_roofline(timings: OpTimings) -> FloatArray:
    """(7,) milliseconds per unit of each term, non-negative least squares of the relative error."""
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415 - slow to import

    terms = roofline_terms(op_columns(timings.ops))
    scale = terms.mean(axis=0)
    scale[scale == 0] = 1.0
    rows = terms / scale / timings.latency_ms[:, None]
    model = LinearRegression(positive=True, fit_intercept=False).fit(rows, np.ones(len(timings)))
    return np.asarray(model.coef_ / scale)


def roofline_ms(speeds: FloatArray, columns: OpColumns) -> FloatArray:
    """(ops,) milliseconds, above 0."""
    return np.asarray(np.maximum(roofline_terms(columns) @ speeds, _LEAST_MS))


class RooflinePredictor:
    """The linear model with cross-conformal intervals."""

    kind: ClassVar[str] = "roofline"
    left_out: PredictedLatency | None = None  # each op it was fitted on, predicted without it; not saved

    def __init__(
        self, speeds: FloatArray, intervals: LogIntervals, known: Sequence[OpSpec], *, confidence: float
    ) -> None:
        self.speeds = speeds
        self.intervals = intervals
        self.fitted_on = tuple(known)
        self.confidence = confidence

    @classmethod
    def fit(cls, timings: OpTimings, *, seed: int = 0, confidence: float = 0.9) -> RooflinePredictor:
        """Fit the speeds; intervals from predictions of fits that did not see the op.

        Raises:
            TooFewSamplesError: fewer than 5 measured ops.
        """
        timings.require(LEAST_OPS, "a linear model")
        judged = cross_validated_ms(timings, fit_roofline_function, seed)
        intervals = fit_intervals(timings, judged, confidence)
        predictor = cls(fit_roofline(timings), intervals, timings.ops, confidence=confidence)
        predictor.left_out = intervals.around(judged, timings.ops)
        return predictor

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        """Latency of each op.

        Raises:
            UnknownOpError: a kind of op that was never measured, or not in that dtype.
        """
        return predict_with_intervals(
            ops, lambda paid: roofline_ms(self.speeds, op_columns(paid)), self.intervals, self.fitted_on
        )

    def describe(self) -> dict[str, Any]:
        return {
            "ms_per_unit": dict(zip(TERMS, map(float, self.speeds), strict=True)),
            "intervals": self.intervals.describe(),
            "fitted_on": [op_to_json(op) for op in self.fitted_on],
        }

    def save_arrays(self, folder: Path) -> None:
        """The model is all JSON."""

    @classmethod
    def restore(cls, described: dict[str, Any], folder: Path, confidence: float) -> RooflinePredictor:  # noqa: ARG003
        speeds = np.array([described["ms_per_unit"][term] for term in TERMS])
        known = [op_from_json(op) for op in described["fitted_on"]]
        return cls(speeds, LogIntervals.restore(described["intervals"]), known, confidence=confidence)


def fit_roofline_function(timings: OpTimings, seed: int) -> Any:  # noqa: ARG001 - the common signature
    """The fitted model as a function, for cross-validation."""
    speeds = fit_roofline(timings)
    return lambda ops: roofline_ms(speeds, op_columns(ops))
