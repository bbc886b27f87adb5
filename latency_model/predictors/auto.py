"""Which regressor suits a device: chosen by nested cross-validation, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_model.errors import TooFewSamplesError
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings
from latency_model.predictors.conformal import folds
from latency_model.predictors.corrected import LEAST_OPS
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.mlp import MlpPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.random_forest import RandomForestPredictor
from latency_model.predictors.regression import Fit, cross_validated_ms
from latency_model.predictors.roofline import RooflinePredictor, fit_roofline_function
from latency_model.predictors.table import TablePredictor
from latency_model.predictors.xgboost_trees import XGBoostPredictor

_FOLDS = 3
LEAST_OPS_TO_CHOOSE = 3 * LEAST_OPS
# A network needs more samples than trees do before it can win, and takes the longest to fit.
_LEAST_OPS_FOR_MLP = 150
_FITS: dict[str, tuple[Any, Fit]] = {
    "roofline": (RooflinePredictor, fit_roofline_function),
    "forest": (RandomForestPredictor, RandomForestPredictor.fit_function),
    "xgboost": (XGBoostPredictor, XGBoostPredictor.fit_function),
    "mlp": (MlpPredictor, MlpPredictor.fit_function),
}


@dataclass(frozen=True)
class Choice:
    """The chosen regressor.

    Attributes:
        mape: of every candidate, by cross-validation over all ops.
        nested_mape: of the choice itself: each outer fold judged by the model that the rest would have chosen.
    """

    kind: str
    mape: dict[str, float]
    nested_mape: float
    op_count: int

    @property
    def reason(self) -> str:
        figures = ", ".join(f"{kind} {mape:.1%}" for kind, mape in sorted(self.mape.items(), key=lambda kv: kv[1]))
        return (
            f"measured ops by table; others by {self.kind}, the best of {figures} in cross-validation over "
            f"{self.op_count} ops (nested: {self.nested_mape:.1%} MAPE on ops it did not see)"
        )


def choose_regressor(timings: OpTimings, seed: int) -> Choice:
    """Nested cross-validation: inner folds choose a model, outer folds judge the choosing.

    Raises:
        TooFewSamplesError: fewer than 30 ops.
    """
    timings.require(LEAST_OPS_TO_CHOOSE, "choosing a model by cross-validation")
    kinds = [kind for kind in _FITS if kind != "mlp" or len(timings) >= _LEAST_OPS_FOR_MLP]
    nested = np.empty(len(timings))
    for fitted, judged in folds(len(timings), _FOLDS, seed):
        rest = timings.subset(fitted)
        best, _ = _best(rest, kinds, seed)
        nested[judged] = _FITS[best][1](rest, seed)([timings.ops[int(row)] for row in judged])
    best, mape = _best(timings, kinds, seed)
    return Choice(best, mape, _mape(nested, timings.latency_ms), len(timings))


def _best(timings: OpTimings, kinds: list[str], seed: int) -> tuple[str, dict[str, float]]:
    mape = {
        kind: _mape(cross_validated_ms(timings, _FITS[kind][1], seed, _FOLDS), timings.latency_ms) for kind in kinds
    }
    return min(mape, key=lambda kind: mape[kind]), mape


def _mape(predicted_ms: FloatArray, measured_ms: FloatArray) -> float:
    return float(np.mean(np.abs(predicted_ms / measured_ms - 1.0)))


def fit_auto(timings: OpTimings, *, seed: int = 0, confidence: float = 0.9) -> tuple[LatencyPredictor, str]:
    """The table with the chosen regressor behind it, and why.

    Of ops too few to choose by, as a campaign of a minute leaves them, the roofline speaks for the others, whose few
    terms need the least; the table alone when they are too few for that.
    """
    table = TablePredictor.fit(timings, seed=seed, confidence=confidence)
    if len(timings) < LEAST_OPS_TO_CHOOSE:
        few = f"{len(timings)} ops are too few to choose a regressor for others ({LEAST_OPS_TO_CHOOSE} or more)"
        try:
            roofline = RooflinePredictor.fit(timings, seed=seed, confidence=confidence)
        except TooFewSamplesError:
            return table, f"measured ops by table; {few}"
        return MeasuredFirstPredictor(table, roofline), f"measured ops by table, others by roofline; {few}"
    choice = choose_regressor(timings, seed)
    regressor = _FITS[choice.kind][0].fit(timings, seed=seed, confidence=confidence)
    return MeasuredFirstPredictor(table, regressor), choice.reason
