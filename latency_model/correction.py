"""What whole networks teach about their ops: shifts of each, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray, edge_values, is_free, op_columns, op_costs
from latency_model.ops import OpSpec
from latency_model.posterior import LinearPosterior
from latency_model.predictors.conformal import normal_quantile
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.table import TablePredictor

SHARED_TERMS = ("sum", "kernels", "edges", "weights", "constant")
"""What all ops share: "weights" is what it costs to read them once those of all other ops went through the caches; an
op timed alone finds its own where it left them."""
MOST_RELIEF = 0.25
"""What a negative constant may take off the sum of ops at most, as a share of it. Ops timed alone find all that they
need in the caches, the more so the smaller they are, so networks grow faster than their sums, and a line that meets
those of a space reaches zero before their sum does."""
_ARRAYS = ("alone_ms", "relative_error", "kernel_count", "edge_values", "weight_bytes", "base_ms", "is_measured")


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What whole networks taught about the ops: shifts of single ops and of the shared terms.

    Attributes:
        ops: the ops that stood in the calibration networks.
        posterior: of the shifts, ops first, then SHARED_TERMS.
        op_spread: how far an op inside a network strays from ``a * alone + b * kernels``, as a share.
        shared_scale: (5,), what turns one unit of a shared term into milliseconds.
    """

    ops: tuple[OpSpec, ...]
    posterior: LinearPosterior
    op_spread: float
    shared_scale: FloatArray


@dataclass(frozen=True)
class OpParts:
    """Per op: latency alone as predicted, its standard deviation as a share of it, and what the affine form makes of
    it. ``is_measured``: looked up, where a regressor speaks of the others. ``confidence``: of the op predictor."""

    ops: tuple[OpSpec, ...]
    alone_ms: FloatArray
    relative_error: FloatArray
    kernel_count: FloatArray
    edge_values: FloatArray
    weight_bytes: FloatArray
    base_ms: FloatArray
    is_measured: npt.NDArray[np.bool_]
    confidence: float

    def subset(self, rows: npt.NDArray[np.bool_]) -> OpParts:
        ops = tuple(op for op, is_in in zip(self.ops, rows.tolist(), strict=True) if is_in)
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return replace(self, ops=ops, **arrays)

    def at(self, sum_factor: float, kernel_ms: float) -> OpParts:
        """The same under another affine form."""
        return replace(self, base_ms=sum_factor * self.alone_ms + kernel_ms * self.kernel_count)


def op_parts(predictor: LatencyPredictor, ops: Sequence[OpSpec], sum_factor: float, kernel_ms: float) -> OpParts:
    """What the op predictor and the affine form say of each op."""
    predicted = predictor.predict_ms(ops)
    costs = op_costs(op_columns(ops))
    edges = np.where(is_free(ops), 0.0, edge_values(ops))
    return OpParts(
        ops=tuple(ops),
        alone_ms=predicted.mean_ms,
        relative_error=predicted.relative_half_width / normal_quantile(predictor.confidence),
        kernel_count=costs.kernel_count,
        edge_values=edges,
        weight_bytes=costs.weight_bytes,
        base_ms=sum_factor * predicted.mean_ms + kernel_ms * costs.kernel_count,
        is_measured=_is_measured(predictor, ops),
        confidence=predictor.confidence,
    )


def _is_measured(predictor: LatencyPredictor, ops: Sequence[OpSpec]) -> npt.NDArray[np.bool_]:
    """(ops,) looked up in a table. A predictor of another kind does not say: its ops count as predicted."""
    table = predictor.table if isinstance(predictor, MeasuredFirstPredictor) else predictor
    known = table.knows if isinstance(table, TablePredictor) else (lambda _: False)
    return np.array([known(op) for op in ops], dtype=bool)


def op_rows(correction: Correction, parts: OpParts) -> FloatArray:
    """(ops, features) what each op reads of the shifts; the constant is the network's, not an op's."""
    column = {op: index for index, op in enumerate(correction.ops)}
    rows = np.zeros((len(parts.ops), len(correction.ops) + len(SHARED_TERMS)))
    for row, op in enumerate(parts.ops):
        if op in column:
            rows[row, column[op]] = 1.0
    of_ops = np.column_stack([parts.base_ms, parts.kernel_count, parts.edge_values, parts.weight_bytes])
    rows[:, len(correction.ops) : -1] = of_ops * correction.shared_scale[:-1]
    return rows


def contributions_ms(correction: Correction, parts: OpParts) -> FloatArray:
    """(ops,) what each op adds to a network's latency; 0 for free ops, never negative."""
    shift = op_rows(correction, parts) @ correction.posterior.mean
    return np.where(is_free(parts.ops), 0.0, np.maximum(parts.base_ms + shift, 0.0))


def network_total_ms(contribution_ms: FloatArray, constant_ms: float) -> float:
    """A network of ops that add so much. Of one far smaller than those that taught the constant, a negative one takes
    off no more than MOST_RELIEF."""
    sum_ms = float(contribution_ms.sum())
    return max(sum_ms + constant_ms, (1 - MOST_RELIEF) * sum_ms)


def network_row(correction: Correction, parts: OpParts) -> FloatArray:
    """(features,) what a whole network reads of the shifts."""
    row = op_rows(correction, parts).sum(axis=0)
    row[-1] = correction.shared_scale[-1]
    return np.asarray(row)


def unseen_variance(correction: Correction, parts: OpParts, unmeasured_factor: float | None) -> float:
    """Squared standard deviation of the sum of those ops that no calibration network held, ms^2.

    Args:
        unmeasured_factor: for the ops that were never measured. None: nobody knows how their errors go together. Then
            their half-widths are taken for standard deviations and added up as if all erred the same way.
    """
    if unmeasured_factor is not None:
        return float(np.sum(np.square(unseen_deviations(correction, parts, unmeasured_factor))))
    measured = unseen_deviations(correction, parts.subset(parts.is_measured), 1.0)
    others = unseen_deviations(correction, parts.subset(~parts.is_measured), normal_quantile(parts.confidence))
    return float(np.sum(np.square(measured)) + np.sum(others) ** 2)


def unseen_deviations(correction: Correction, parts: OpParts, unmeasured_factor: float) -> FloatArray:
    """(distinct ops,) standard deviations of those that no calibration network held, ms; repeats are added up.

    One op has one error, however often it stands in a network.
    """
    known = set(correction.ops)
    factor = np.where(parts.is_measured, 1.0, unmeasured_factor)
    std = prior_std_ms(replace(parts, relative_error=parts.relative_error * factor), correction.op_spread)
    total: dict[OpSpec, float] = {}
    for op, op_std in zip(parts.ops, std, strict=True):
        if op not in known:
            total[op] = total.get(op, 0.0) + float(op_std)
    return np.array(list(total.values()), dtype=np.float64)


def prior_std_ms(parts: OpParts, op_spread: float) -> FloatArray:
    """(ops,) how far an op inside a network may be from what the affine form says."""
    return np.asarray(parts.base_ms * np.sqrt(op_spread**2 + parts.relative_error**2))
