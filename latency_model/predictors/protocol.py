"""What every op predictor offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from latency_model.features import FloatArray
from latency_model.ops import OpSpec


@dataclass(frozen=True)
class PredictedLatency:
    """Latencies of many ops with their intervals; each array is (ops,), milliseconds."""

    mean_ms: FloatArray
    low_ms: FloatArray
    high_ms: FloatArray

    def __post_init__(self) -> None:
        assert self.mean_ms.shape == self.low_ms.shape == self.high_ms.shape

    @property
    def relative_half_width(self) -> FloatArray:
        """(ops,) half the interval as a share of the mean; 0 for free ops."""
        half = (self.high_ms - self.low_ms) / 2
        safe = self.mean_ms.copy()
        safe[safe == 0] = 1.0
        relative: FloatArray = half / safe
        return relative


@runtime_checkable
class LatencyPredictor(Protocol):
    """Latency of ops, each with a calibrated interval.

    ``predict_ms`` raises UnknownOpError for an op it cannot speak of; ``IdentitySpec`` and ``ZeroSpec`` are 0.
    ``describe`` is the JSON part of a saved predictor; ``save_arrays`` writes what is not JSON beside it.
    """

    kind: ClassVar[str]
    confidence: float

    def predict_ms(self, ops: Sequence[OpSpec]) -> PredictedLatency: ...

    def describe(self) -> dict[str, Any]: ...

    def save_arrays(self, folder: Path) -> None: ...
