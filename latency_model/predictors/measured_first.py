"""The table for what was measured, a regressor for what was not: each op says which, by the width of its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latency_model.ops import OpSpec
from latency_model.predictors.distinct import distinct_ops, predict_once_each
from latency_model.predictors.protocol import LatencyPredictor, PredictedLatency
from latency_model.predictors.table import TablePredictor


class MeasuredFirstPredictor:
    """Looks an op up, and asks the regressor about those that the table lacks."""

    kind: ClassVar[str] = "measured_first"

    def __init__(self, table: TablePredictor, regressor: LatencyPredictor) -> None:
        self.table = table
        self.regressor = regressor
        self.confidence = table.confidence

    def unmeasured(self, ops: Sequence[OpSpec]) -> list[OpSpec]:
        """Those of the ops that only the regressor can speak of."""
        distinct, _ = distinct_ops(ops)
        return [op for op in dict.fromkeys(distinct) if not self.table.knows(op)]

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        """Latency of each op.

        Raises:
            UnknownOpError: an op that was not measured, of a kind that was never measured, or not in that dtype.
        """
        return predict_once_each(ops, self._predict)

    def _predict(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        is_known = np.array([self.table.knows(op) for op in ops], dtype=bool)
        if is_known.all():
            return self.table.predict_ms(ops)
        mean, low, high = (np.zeros(len(ops)) for _ in range(3))
        for rows, source in ((np.flatnonzero(is_known), self.table), (np.flatnonzero(~is_known), self.regressor)):
            part = source.predict_ms([ops[int(row)] for row in rows])
            mean[rows], low[rows], high[rows] = part.mean_ms, part.low_ms, part.high_ms
        return PredictedLatency(mean, low, high)

    def describe(self) -> dict[str, Any]:
        return {"parts": ["table", "regressor"], "regressor_kind": self.regressor.kind}

    def save_arrays(self, folder: Path) -> None:
        from latency_model.predictors.store import save_predictor  # noqa: PLC0415 - the store knows every predictor

        save_predictor(self.table, folder / "table")
        save_predictor(self.regressor, folder / "regressor")

    @classmethod
    def restore(cls, described: dict[str, Any], folder: Path, confidence: float) -> MeasuredFirstPredictor:  # noqa: ARG003
        from latency_model.predictors.store import load_predictor  # noqa: PLC0415 - the store knows every predictor

        table = load_predictor(folder / "table")
        assert isinstance(table, TablePredictor)
        return cls(table, load_predictor(folder / "regressor"))
