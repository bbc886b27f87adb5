"""Intervals that hold without assumptions on the model: quantiles of its own errors on data it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import cast

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray

IndexArray = npt.NDArray[np.int64]


def conformal_quantile(scores: FloatArray, confidence: float) -> float:
    """The score that a new one stays under with probability ``confidence``.

    Args:
        scores: (n,), 0 or more: errors on samples that the model did not see.
        confidence: between 0 and 1, such as 0.9.
    Returns:
        The ceil((n + 1) * confidence)-th smallest score. With too few scores to promise that much, the largest
        score or the Student quantile of their root mean square, whichever is larger.
    Source: Lei et al., Distribution-free predictive inference for regression, JASA 2018.
    """
    _check_confidence(confidence)
    count = len(scores)
    if count == 0:
        raise ValueError("No scores; an interval needs errors on samples that the model did not see.")
    rank = int(np.ceil((count + 1) * confidence))
    ordered = np.sort(scores)
    if rank <= count:
        return float(ordered[rank - 1])
    root_mean_square = float(np.sqrt(np.mean(ordered**2)))
    return max(float(ordered[-1]), student_quantile(confidence, count) * root_mean_square)


def student_quantile(confidence: float, degrees: int) -> float:
    """Two-sided Student quantile: |t| stays under it with probability ``confidence``."""
    from scipy import stats  # noqa: PLC0415 - slow to import

    return float(stats.t.ppf((1 + confidence) / 2, degrees))


def normal_quantile(confidence: float) -> float:
    """Standard deviations on either side of the mean that hold ``confidence`` of a normal distribution."""
    _check_confidence(confidence)
    return NormalDist().inv_cdf((1 + confidence) / 2)


def folds(count: int, fold_count: int, seed: int) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Shuffled (rows to fit on, rows to judge on), each row judged once."""
    assert 1 < fold_count <= count, f"{fold_count} folds of {count} rows"
    order = np.random.default_rng(seed).permutation(count)
    for part in range(fold_count):
        judged = np.sort(order[part::fold_count])
        yield cast(IndexArray, np.setdiff1d(order, judged)), judged


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"{confidence=}; it must lie between 0 and 1, such as 0.9.")
