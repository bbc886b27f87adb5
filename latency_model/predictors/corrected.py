"""Regressors that correct the roofline model: trees, forests and networks share everything but their fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from latency_model.features import FloatArray, op_columns
from latency_model.op_json import op_from_json, op_to_json
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec
from latency_model.predictors.protocol import PredictedLatency
from latency_model.predictors.regression import (
    FOLD_COUNT,
    LogIntervals,
    Predict,
    cross_validated_ms,
    fit_intervals,
    predict_with_intervals,
)
from latency_model.predictors.roofline import TERMS, fit_roofline, roofline_ms
from latency_model.regressor_features import features_of

LEAST_OPS = 10
# A correction beyond a factor of e^3 = 20 is no correction: it would be a regressor gone astray.
_LARGEST_CORRECTION = 3.0


class Regressor(Protocol):
    """Maps features to the log of latency over roofline."""

    def predict(self, features: FloatArray) -> FloatArray: ...

    def save(self, folder: Path) -> None: ...


class RegressorClass(Protocol):
    """How a regressor is made: by fitting, or from a folder."""

    def fit(self, features: FloatArray, targets: FloatArray, seed: int) -> Regressor: ...

    def load(self, folder: Path) -> Regressor: ...


Own = TypeVar("Own", bound="CorrectedPredictor")


class CorrectedPredictor:
    """``roofline x exp(regressor)`` with cross-conformal intervals; subclasses name the regressor."""

    kind: ClassVar[str]
    regressor_class: ClassVar[RegressorClass]
    fold_count: ClassVar[int] = FOLD_COUNT
    left_out: PredictedLatency | None = None  # each op it was fitted on, predicted without it; not saved

    def __init__(
        self,
        speeds: FloatArray,
        regressor: Regressor,
        intervals: LogIntervals,
        known: Sequence[OpSpec],
        confidence: float,
    ) -> None:
        self._speeds = speeds
        self._regressor = regressor
        self.intervals = intervals
        self.fitted_on = tuple(known)
        self.confidence = confidence

    @classmethod
    def fit(cls: type[Own], timings: OpTimings, *, seed: int = 0, confidence: float = 0.9) -> Own:
        """Fit on log latency; intervals from predictions of models that did not see the op.

        Raises:
            TooFewSamplesError: fewer than 10 measured ops.
        """
        timings.require(LEAST_OPS, f"the {cls.kind} model")
        judged = cross_validated_ms(timings, cls.fit_function, seed, cls.fold_count)
        speeds, regressor = cls._fit_parts(timings, seed)
        intervals = fit_intervals(timings, judged, confidence)
        predictor = cls(speeds, regressor, intervals, timings.ops, confidence)
        predictor.left_out = intervals.around(judged, timings.ops)
        return predictor

    @classmethod
    def _fit_parts(cls, timings: OpTimings, seed: int) -> tuple[FloatArray, Regressor]:
        speeds = fit_roofline(timings)
        columns = op_columns(timings.ops)
        targets = np.log(timings.latency_ms / roofline_ms(speeds, columns))
        return speeds, cls.regressor_class.fit(features_of(columns), targets, seed)

    @classmethod
    def fit_function(cls, timings: OpTimings, seed: int) -> Predict:
        """The fitted model as a function, for cross-validation."""
        speeds, regressor = cls._fit_parts(timings, seed)
        return lambda ops: _corrected_ms(speeds, regressor, ops)

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        """Latency of each op.

        Raises:
            UnknownOpError: a kind of op that was never measured, or not in that dtype.
        """
        return predict_with_intervals(
            ops, lambda paid: _corrected_ms(self._speeds, self._regressor, paid), self.intervals, self.fitted_on
        )

    def describe(self) -> dict[str, Any]:
        return {
            "roofline_ms_per_unit": dict(zip(TERMS, map(float, self._speeds), strict=True)),
            "intervals": self.intervals.describe(),
            "fitted_on": [op_to_json(op) for op in self.fitted_on],
        }

    def save_arrays(self, folder: Path) -> None:
        self._regressor.save(folder)

    @classmethod
    def restore(cls: type[Own], described: dict[str, Any], folder: Path, confidence: float) -> Own:
        speeds = np.array([described["roofline_ms_per_unit"][term] for term in TERMS])
        known = [op_from_json(op) for op in described["fitted_on"]]
        intervals = LogIntervals.restore(described["intervals"])
        return cls(speeds, cls.regressor_class.load(folder), intervals, known, confidence)


def _corrected_ms(speeds: FloatArray, regressor: Regressor, ops: Sequence[OpSpec]) -> FloatArray:
    columns = op_columns(ops)  # the slow part; a search asks for many ops
    correction = regressor.predict(features_of(columns)).clip(-_LARGEST_CORRECTION, _LARGEST_CORRECTION)
    return np.asarray(roofline_ms(speeds, columns) * np.exp(correction))
