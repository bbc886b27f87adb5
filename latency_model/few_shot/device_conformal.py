"""How wide intervals on a new device must be: each source in turn plays the new device.

A fit's own leave-one-out errors come from samples that were chosen to be far apart, on one device. How wrong a fit
is on all the networks of a device that no source is quite like shows only on devices that are known: one source
after the other is taken out, sampled, fitted and judged, as the new device will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray
from latency_model.few_shot.items import Items, feature_groups
from latency_model.few_shot.structured_gp import LEAST_SAMPLES, StructuredFit, choose_samples, fit_structured_gp
from latency_model.predictors.conformal import conformal_quantile

MOST_REHEARSALS = 20
_LEAST_SOURCES = 2


@dataclass(frozen=True)
class SourceLabels:
    """The networks that were measured on one source: ``rows`` of the pool and their latency."""

    rows: npt.NDArray[np.int64]
    latency_ms: FloatArray


def rehearse(
    counts: FloatArray,
    items: Items,
    tables: FloatArray,
    labels: Sequence[SourceLabels],
    sample_count: int,
    rng: np.random.Generator,
) -> list[FloatArray]:
    """Scores of each source that played the new device: errors in its fit's own ``_scale`` of them.

    Args:
        counts: (networks, items) of the pool; tables: (sources, items), as ``feature_groups`` takes them.
        labels: one per source.
    Returns:
        At most twenty arrays; none with fewer than two sources, where nothing would be left to learn from.
    """
    if len(labels) < _LEAST_SOURCES:
        return []
    scores = []
    for source in rng.permutation(len(labels))[:MOST_REHEARSALS]:
        known = labels[source]
        if len(known.rows) <= max(sample_count, LEAST_SAMPLES):
            continue
        groups = feature_groups(counts[known.rows], items, np.delete(tables, source, axis=0))
        chosen = choose_samples(groups, sample_count, pool_size=len(known.rows), rng=rng)
        fit = fit_structured_gp(groups, chosen, known.latency_ms[chosen])
        rest = np.setdiff1d(np.arange(len(known.rows)), chosen)
        error = np.abs(fit.predict_ms() - known.latency_ms)
        scores.append((error / (_scale(fit) * fit.standard_deviation_ms()))[rest])
    return scores


def own_factor(fit: StructuredFit, confidence: float) -> float:
    """Standard deviations that hold ``confidence`` of the fit's own samples, each left out in turn."""
    return conformal_quantile(fit.left_out_scores(), confidence)


def _scale(fit: StructuredFit) -> float:
    """Standard deviations that an error on this device is expected to have: the geometric mean of 1, which the fit
    claims, and what its left-out samples tell.

    Twenty samples tell little. Believed in full, by their 90 % quantile or their root mean square, they widened all
    intervals for the few devices whose samples tell wrong; believed by half, as many networks were held by intervals
    10 to 29 % narrower in the mean (fresh splits of `benchmarks.predictor_public`); not believed at all, the odd
    device was held less.
    """
    return float(np.sqrt(np.sqrt(np.mean(np.square(fit.left_out_scores())))))


def rehearsed_factor(fit: StructuredFit, scores: Sequence[FloatArray], confidence: float) -> float:
    """Standard deviations that hold ``confidence`` of the networks of a new device.

    All networks of one device share its fate, so devices count, each with the same weight (source: Dunn,
    Wasserman and Ramdas, Distribution-free prediction sets for two-layer hierarchical models, JASA 2022, whose
    pooled distribution this is). It holds on average over devices; one device may be far above or below. Without
    rehearsals the fit's own errors must do.
    """
    if not scores:
        return own_factor(fit, confidence)
    values = np.concatenate(scores)
    weights = np.concatenate([np.full(len(each), 1.0 / len(each)) for each in scores])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / len(scores)
    position = min(int(np.searchsorted(reached, confidence)), len(values) - 1)
    return _scale(fit) * float(values[order[position]])
