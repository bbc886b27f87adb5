"""A million ops are mostly the same few objects: each is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from latency_model.ops import OpSpec
from latency_model.predictors.conformal import IndexArray
from latency_model.predictors.protocol import PredictedLatency


def distinct_ops(ops: Sequence[OpSpec]) -> tuple[list[OpSpec], IndexArray]:
    """The objects among ``ops`` as they first occur, and (ops,) which of them each is.

    Equal objects that are not the same stay apart: comparing a million takes longer than predicting does.
    """
    identity = np.fromiter(map(id, ops), dtype=np.int64, count=len(ops))
    _, first, inverse = np.unique(identity, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return [ops[position] for position in first[order].tolist()], np.argsort(order)[inverse]


def predict_once_each(
    ops: Sequence[OpSpec], predict: Callable[[Sequence[OpSpec]], PredictedLatency]
) -> PredictedLatency:
    """``predict(ops)``, asked only of the objects among them."""
    distinct, inverse = distinct_ops(ops)
    found = predict(distinct)
    return PredictedLatency(found.mean_ms[inverse], found.low_ms[inverse], found.high_ms[inverse])
