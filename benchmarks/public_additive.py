"""Additive tables over the choices of a space: what public labels are tested with before anything is fitted to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_model.evaluate import spearman
from latency_model.features import FloatArray

BoolArray = npt.NDArray[np.bool_]
_FOLDS = 5
_LEAST_TO_JUDGE = 100
_LEAST_SPARE = 20  # labels beyond the columns; fewer are fitted exactly, whatever they are
_STRETCH = 250
# On the public devices the worst stretch in order reaches .64; one that is off by one network is below 0.
_IN_ORDER = 0.25


def additive_ms(counts: FloatArray, latency_ms: FloatArray, known: BoolArray) -> FloatArray:
    """(networks,) an additive table by ridge on the known networks, for all of them."""
    centre, level = counts[known].mean(axis=0), latency_ms[known].mean()
    centred = counts[known] - centre
    gram = centred.T @ centred + np.eye(counts.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (latency_ms[known] - level))
    return np.asarray(np.maximum(level + (counts - centre) @ weights, 0.05 * level))


def folds_of(count: int) -> npt.NDArray[np.int64]:
    """(count,) which of five parts each network is judged in."""
    return np.random.default_rng(0).integers(0, _FOLDS, count)


def is_exact_sum(counts: FloatArray, latency_ms: FloatArray) -> bool:
    """Whether labels are a table's sum instead of measurements: an additive fit leaves nothing."""
    known = np.isfinite(latency_ms)
    if known.sum() < counts.shape[1] + _LEAST_SPARE:
        return False
    design = np.column_stack([counts[known], np.ones(known.sum())])
    solution, *_ = np.linalg.lstsq(design, latency_ms[known], rcond=None)
    residual = latency_ms[known] - design @ solution
    return bool(residual.std() < 1e-3 * latency_ms[known].std())


def follows_order(counts: FloatArray, latency_ms: FloatArray) -> bool:
    """Whether the labels are those of the networks in whose order they stand.

    A file that is longer or shorter than the list of networks may have lost its end, or a line in the middle, after
    which every label is another network's. Each part of the file must rank as an additive table of the others says.
    """
    known = np.isfinite(latency_ms)
    if known.sum() < _LEAST_TO_JUDGE:
        return False
    predicted = np.empty(len(latency_ms))
    fold_of = folds_of(len(latency_ms))
    for fold in range(_FOLDS):
        judged = fold_of == fold
        predicted[judged] = additive_ms(counts, latency_ms, known & ~judged)[judged]
    return agrees_throughout(predicted[known], latency_ms[known], _IN_ORDER)


def agrees_throughout(expected: FloatArray, found: FloatArray, least: float) -> bool:
    """Whether two series rank alike in every stretch of about 250 entries, and in every fifth of short ones.

    Args:
        least: rank correlation of a stretch that counts as alike.
    """
    count = max(_FOLDS, len(found) // _STRETCH)
    parts = zip(np.array_split(expected, count), np.array_split(found, count), strict=True)
    return all((spearman(left, right) or 0.0) >= least for left, right in parts)
