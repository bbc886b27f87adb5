"""Units of foreign latencies: stated, or milliseconds that must look like milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from latency_model.errors import MeasurementError
from latency_model.features import FloatArray
from latency_model.op_timings import check_latencies, check_units
from latency_model.ops import OpSpec

Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
MS_PER_UNIT: dict[str, float] = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}


def to_milliseconds(ops: Sequence[OpSpec], values: Sequence[float], unit: Unit | None) -> FloatArray:
    """Milliseconds; without a stated unit the values must be plausible as such.

    Raises:
        MeasurementError: an unknown unit, a value that is no latency, or no unit and implausible values.
    """
    if unit is not None and unit not in MS_PER_UNIT:
        raise MeasurementError(f"Unknown unit {unit!r}; use one of {', '.join(MS_PER_UNIT)}.")
    latency_ms = np.array(values, dtype=np.float64) * MS_PER_UNIT[unit or "ms"]
    check_latencies(ops, latency_ms)
    if unit is None:
        check_units(ops, latency_ms)
    return latency_ms
