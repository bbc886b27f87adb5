"""Additive tables over the choices of a space: what public labels are tested with before anything is fitted to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_model.drift import local_level
from latency_model.evaluate import spearman
from latency_model.features import FloatArray

BoolArray = npt.NDArray[np.bool_]
_FOLDS = 5
_LEAST_TO_JUDGE = 100
_LEAST_SPARE = 20  # labels beyond the columns; fewer are fitted exactly, whatever they are
_STRETCH = 250
# On the public devices the worst stretch in order reaches .64; one that is off by one network is below 0.
_IN_ORDER = 0.25
_LEVEL_ROUNDS, _LEVEL_HALF_WINDOW = 2, 8
_CHANCE_DEVIATIONS = 2.0  # of the rank correlation of two series that have nothing to do with each other


def additive_ms(counts: FloatArray, latency_ms: FloatArray, known: BoolArray) -> FloatArray:
    """(networks,) an additive table by ridge on the known networks, for all of them."""
    return np.asarray(np.maximum(_additive(counts, latency_ms, known), 0.05 * latency_ms[known].mean()))


def _additive(counts: FloatArray, values: FloatArray, known: BoolArray) -> FloatArray:
    centre, level = counts[known].mean(axis=0), values[known].mean()
    centred = counts[known] - centre
    gram = centred.T @ centred + np.eye(counts.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (values[known] - level))
    return np.asarray(level + (counts - centre) @ weights)


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
    """Whether the labels are seen to be those of the networks in whose order they stand.

    A file may have lost its end, or a line in the middle, after which every label is another network's; or it is in
    another order altogether. Each part of the file must rank as an additive table of the others says.
    """
    if np.isfinite(latency_ms).sum() < _LEAST_TO_JUDGE:
        return False
    return agrees_throughout(*_expected_and_found(counts, latency_ms), _IN_ORDER)


def contradicts_order(counts: FloatArray, latency_ms: FloatArray) -> bool:
    """Whether the labels are enough to see that they are those of other networks.

    With fewer than two labels per column a stretch of a true file can rank by chance; the whole must then rank as by
    chance. With fewer than one nothing can be seen.
    """
    label_count, column_count = int(np.isfinite(latency_ms).sum()), counts.shape[1]
    if label_count < max(column_count, _LEAST_TO_JUDGE):
        return False
    if label_count >= 2 * column_count:
        return not follows_order(counts, latency_ms)
    rank_correlation = spearman(*_expected_and_found(counts, latency_ms)) or 0.0
    return rank_correlation < _CHANCE_DEVIATIONS / np.sqrt(label_count)


def _expected_and_found(counts: FloatArray, latency_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(labels,) log of each latency as an additive table of the other parts of the file has it, and as it is.

    Both without what the device wandered: the level of a label's neighbours, itself left out.
    """
    known = np.isfinite(latency_ms)
    found = np.log(latency_ms / np.median(latency_ms[known]))
    fold_of = folds_of(len(found))
    expected, level = np.empty(len(found)), np.zeros(len(found))
    for _ in range(_LEVEL_ROUNDS):
        for fold in range(_FOLDS):
            judged = fold_of == fold
            expected[judged] = _additive(counts, found - level, known & ~judged)[judged]
        level = local_level(found - expected, known, _LEVEL_HALF_WINDOW)
    return expected[known], (found - level)[known]


def agrees_throughout(expected: FloatArray, found: FloatArray, least: float) -> bool:
    """Whether two series rank alike in every stretch of about 250 entries, and in every fifth of short ones.

    Args:
        least: rank correlation of a stretch that counts as alike.
    """
    count = max(_FOLDS, len(found) // _STRETCH)
    parts = zip(np.array_split(expected, count), np.array_split(found, count), strict=True)
    return all((spearman(left, right) or 0.0) >= least for left, right in parts)
