"""Gradient-boosted trees (xgboost), saved in xgboost's own JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latency_model.features import FloatArray
from latency_model.predictors.corrected import CorrectedPredictor, RegressorClass

_MODEL_FILE = "xgboost.json"
_BOOSTING_ROUNDS = 400
_PARAMETERS: dict[str, Any] = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.07,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "nthread": 1,  # one thread gives the same trees everywhere
}


class BoostedTrees:
    """A fitted booster."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    @classmethod
    def fit(cls, features: FloatArray, targets: FloatArray, seed: int) -> BoostedTrees:
        import xgboost  # noqa: PLC0415 - slow to import

        data = xgboost.DMatrix(features, targets, nthread=1)
        return cls(xgboost.train({**_PARAMETERS, "seed": seed}, data, num_boost_round=_BOOSTING_ROUNDS))

    def predict(self, features: FloatArray) -> FloatArray:
        return np.asarray(self._booster.inplace_predict(features.astype(np.float32)), dtype=np.float64)

    def save(self, folder: Path) -> None:
        self._booster.save_model(folder / _MODEL_FILE)

    @classmethod
    def load(cls, folder: Path) -> BoostedTrees:
        import xgboost  # noqa: PLC0415 - slow to import

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(folder / _MODEL_FILE)
        return cls(booster)


class XGBoostPredictor(CorrectedPredictor):
    """Boosted trees on top of the roofline model."""

    kind: ClassVar[str] = "xgboost"
    regressor_class: ClassVar[RegressorClass] = BoostedTrees
