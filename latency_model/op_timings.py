"""Latencies of single ops as arrays: what every op predictor is fitted on, wherever they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.errors import MeasurementError, TooFewSamplesError
from latency_model.features import FloatArray, is_free, op_columns, op_costs
from latency_model.ops import OpSpec

# Below the first, a device would be slower than a microcontroller; above the second, which counts one image of a
# batch, faster than any accelerator that runs one image at a time.
_SLOWEST_MACS_PER_S = 2e7
_FASTEST_MACS_PER_S = 5e13
_HEAVY_MACS = 1e5  # lighter ops say more about overhead than about the device


@dataclass(frozen=True, kw_only=True)
class OpTimings:
    """One latency per op configuration.

    Args:
        ops: distinct ops.
        latency_ms: (ops,), finite and above 0.
        relative_error: (ops,), how far repeats of the measurement differ, as a share of the latency.
    Raises:
        MeasurementError: shapes differ, an op stands twice, a latency is not above 0, or is of a free op.
    """

    ops: tuple[OpSpec, ...]
    latency_ms: FloatArray
    relative_error: FloatArray

    def __post_init__(self) -> None:
        if not len(self.ops) == len(self.latency_ms) == len(self.relative_error):
            raise MeasurementError(
                f"{len(self.ops)} ops, {len(self.latency_ms)} latencies and {len(self.relative_error)} errors; "
                "one of each per op."
            )
        if len(set(self.ops)) != len(self.ops):
            raise MeasurementError("An op stands twice; pool repeats of one configuration before fitting.")
        check_latencies(self.ops, self.latency_ms)

    def __len__(self) -> int:
        return len(self.ops)

    def subset(self, rows: npt.NDArray[np.int64] | Sequence[int]) -> OpTimings:
        index = np.asarray(rows, dtype=np.int64)
        return OpTimings(
            ops=tuple(self.ops[row] for row in index),
            latency_ms=self.latency_ms[index],
            relative_error=self.relative_error[index],
        )

    def require(self, count: int, what_for: str) -> None:
        """Raise TooFewSamplesError when there are fewer ops than ``count``."""
        if len(self) < count:
            raise TooFewSamplesError(
                f"{len(self)} measured ops; {what_for} needs {count} or more. Profile more ops, or use the table."
            )


def check_latencies(ops: Sequence[OpSpec], latency_ms: FloatArray) -> None:
    """Refuse what cannot be a latency.

    Raises:
        MeasurementError: a latency that is not finite or not above 0, or one of an op that costs nothing.
    """
    wrong = ~(np.isfinite(latency_ms) & (latency_ms > 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise MeasurementError(
            f"{int(wrong.sum())} latencies are no positive numbers, the first {latency_ms[row]} ms of "
            f"{ops[row].key}. Measure it again, or drop the row."
        )
    free = is_free(ops)
    if free.any():
        op = ops[int(np.flatnonzero(free)[0])]
        raise MeasurementError(f"{op.key} costs nothing by definition; a latency for it is a mistake.")


def check_units(ops: Sequence[OpSpec], latency_ms: FloatArray) -> None:
    """Suspect a file whose latencies, read as milliseconds, imply an impossible device.

    Raises:
        MeasurementError: the median op would run slower than a microcontroller or faster than any device.
    """
    columns = op_columns(ops)
    macs = op_costs(columns).macs
    heavy = macs > _HEAVY_MACS
    if not heavy.any():
        return
    per_ms = macs[heavy] / latency_ms[heavy]
    macs_per_s = float(np.median(per_ms)) * 1e3
    is_possible = float(np.median(per_ms / columns["batch"][heavy])) * 1e3 <= _FASTEST_MACS_PER_S
    if is_possible and macs_per_s >= _SLOWEST_MACS_PER_S:
        return
    likely = "microseconds or nanoseconds" if macs_per_s < _SLOWEST_MACS_PER_S else "seconds"
    raise MeasurementError(
        f"Read as milliseconds, the median op runs {macs_per_s:.2g} multiply-accumulates a second, which no "
        f"device does. Are these {likely}? State the unit of the table (`proxyless fit TABLE --unit us`, ns or s); "
        "measurements of ours are always in milliseconds: measure these again."
    )


def pooled_timings(samples: Iterable[tuple[OpSpec, float, float]]) -> OpTimings:
    """Pool (op, latency_ms, relative_error) rows: repeats of one op become their median.

    The error of a pooled op is the larger of its own and the repeats' half range.
    """
    by_op: dict[OpSpec, list[tuple[float, float]]] = {}
    for op, latency_ms, relative_error in samples:
        by_op.setdefault(op, []).append((latency_ms, relative_error))
    latency, error = [], []
    for rows in by_op.values():
        values = np.array([value for value, _ in rows])
        middle = float(np.median(values))
        half_range = float(values.max() - values.min()) / 2 / middle if middle > 0 else 0.0
        latency.append(middle)
        error.append(max(half_range, *(row_error for _, row_error in rows)))
    return OpTimings(ops=tuple(by_op), latency_ms=np.array(latency), relative_error=np.array(error))
