"""Gradient-boosted trees (xgboost) on the log latency; saved in xgboost's own JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latency_model.features import FloatArray, op_features
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec, op_from_json, op_to_json
from latency_model.predictors.protocol import PredictedLatency
from latency_model.predictors.regression import (
    LogIntervals,
    cross_validated_ms,
    fit_intervals,
    predict_with_intervals,
)

LEAST_OPS = 10
_MODEL_FILE = "xgboost.json"
_BOOSTING_ROUNDS = 500
_PARAMETERS: dict[str, Any] = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.05,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "min_child_weight": 1,
    "nthread": 1,  # one thread gives the same trees everywhere
}


class XGBoostPredictor:
    """Boosted trees over op features, with cross-conformal intervals."""

    kind: ClassVar[str] = "xgboost"

    def __init__(self, booster: Any, intervals: LogIntervals, known: Sequence[OpSpec], *, confidence: float) -> None:
        self._booster = booster
        self._intervals = intervals
        self._known = tuple(known)
        self.confidence = confidence

    @classmethod
    def fit(cls, timings: OpTimings, *, seed: int = 0, confidence: float = 0.9) -> XGBoostPredictor:
        """Fit on log latency; intervals from predictions of models that did not see the op.

        Raises:
            TooFewSamplesError: fewer than 10 measured ops.
        """
        timings.require(LEAST_OPS, "boosted trees")
        judged = cross_validated_ms(timings, _fit_and_wrap, seed)
        intervals = fit_intervals(timings, judged, confidence)
        return cls(_train(timings, seed), intervals, timings.ops, confidence=confidence)

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        """Latency of each op.

        Raises:
            UnknownOpError: a kind of op that was never measured.
        """
        return predict_with_intervals(ops, lambda paid: _predict(self._booster, paid), self._intervals, self._known)

    def describe(self) -> dict[str, Any]:
        return {
            "model_file": _MODEL_FILE,
            "intervals": self._intervals.describe(),
            "fitted_on": [op_to_json(op) for op in self._known],
        }

    def save_arrays(self, folder: Path) -> None:
        self._booster.save_model(folder / _MODEL_FILE)

    @classmethod
    def restore(cls, described: dict[str, Any], folder: Path, confidence: float) -> XGBoostPredictor:
        import xgboost  # noqa: PLC0415 - slow to import

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(folder / _MODEL_FILE)
        intervals = LogIntervals.restore(described["intervals"])
        return cls(booster, intervals, [op_from_json(op) for op in described["fitted_on"]], confidence=confidence)


def _train(timings: OpTimings, seed: int) -> Any:
    import xgboost  # noqa: PLC0415 - slow to import

    data = xgboost.DMatrix(op_features(timings.ops), np.log(timings.latency_ms), nthread=1)
    return xgboost.train({**_PARAMETERS, "seed": seed}, data, num_boost_round=_BOOSTING_ROUNDS)


def _predict(booster: Any, ops: Sequence[OpSpec]) -> FloatArray:
    return np.exp(np.asarray(booster.inplace_predict(op_features(ops)), dtype=np.float64))


def _fit_and_wrap(timings: OpTimings, seed: int) -> Any:
    booster = _train(timings, seed)
    return lambda ops: _predict(booster, ops)
