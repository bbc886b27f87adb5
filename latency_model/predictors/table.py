"""The exact table: what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from latency_model.errors import UnknownOpError
from latency_model.op_json import op_from_json, op_to_json
from latency_model.op_timings import OpTimings
from latency_model.ops import IdentitySpec, OpSpec, ZeroSpec
from latency_model.predictors.conformal import normal_quantile
from latency_model.predictors.distinct import predict_once_each
from latency_model.predictors.protocol import PredictedLatency

# Two sessions that agree by luck do not make a measurement exact.
_LEAST_RELATIVE_ERROR = 0.01
_FREE_ROW = 0
_UNKNOWN_ROW = -1


class TablePredictor:
    """Looks latencies up. The spread between an op's measuring sessions, 1 % at least, is its standard deviation:
    the interval is as many of them as hold ``confidence``."""

    kind: ClassVar[str] = "table"

    def __init__(self, timings: OpTimings, *, confidence: float = 0.9) -> None:
        self.timings = timings
        self.confidence = confidence
        self._row = {op: row for row, op in enumerate(timings.ops, start=1)}
        spread = np.maximum(timings.relative_error, _LEAST_RELATIVE_ERROR)
        half = timings.latency_ms * spread * normal_quantile(confidence)
        self._mean = np.concatenate([[0.0], timings.latency_ms])
        self._half = np.concatenate([[0.0], half])

    @classmethod
    def fit(cls, timings: OpTimings, *, seed: int = 0, confidence: float = 0.9) -> TablePredictor:  # noqa: ARG003
        """The table of ``timings``; ``seed`` is there for the common signature."""
        timings.require(1, "a table")
        return cls(timings, confidence=confidence)

    def knows(self, op: OpSpec) -> bool:
        return op in self._row or isinstance(op, IdentitySpec | ZeroSpec)

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        """Latency of each op.

        Raises:
            UnknownOpError: an op that was not measured.
        """
        return predict_once_each(ops, self._look_up)

    def _look_up(self, ops: Sequence[OpSpec]) -> PredictedLatency:
        rows = np.array([self._row_of(op) for op in ops], dtype=np.int64)
        if (rows == _UNKNOWN_ROW).any():
            unknown = dict.fromkeys(ops[position] for position in np.flatnonzero(rows == _UNKNOWN_ROW).tolist())
            raise UnknownOpError(list(unknown), self.timings.ops, "it was not measured.")
        mean, half = self._mean[rows], self._half[rows]
        return PredictedLatency(mean, np.maximum(mean - half, 0.0), mean + half)

    def _row_of(self, op: OpSpec) -> int:
        row = self._row.get(op, _UNKNOWN_ROW)
        return _FREE_ROW if row == _UNKNOWN_ROW and isinstance(op, IdentitySpec | ZeroSpec) else row

    def describe(self) -> dict[str, Any]:
        return {
            "rows": [
                {"op": op_to_json(op), "latency_ms": float(latency), "relative_error": float(error)}
                for op, latency, error in zip(
                    self.timings.ops, self.timings.latency_ms, self.timings.relative_error, strict=True
                )
            ]
        }

    def save_arrays(self, folder: Path) -> None:
        """The table is all JSON."""

    @classmethod
    def restore(cls, described: dict[str, Any], folder: Path, confidence: float) -> TablePredictor:  # noqa: ARG003
        rows = described["rows"]
        timings = OpTimings(
            ops=tuple(op_from_json(row["op"]) for row in rows),
            latency_ms=np.array([row["latency_ms"] for row in rows], dtype=np.float64),
            relative_error=np.array([row["relative_error"] for row in rows], dtype=np.float64),
        )
        return cls(timings, confidence=confidence)
