"""A new device from 20 samples, judged on every other network, beside two trivial baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.public_data import IntArray, PublicSpace
from latency_model.evaluate import spearman
from latency_model.features import FloatArray
from latency_model.few_shot.baselines import best_source_rescaled, ridge_from_scratch
from latency_model.few_shot.device_conformal import SourceLabels, own_factor, rehearse, rehearsed_factor
from latency_model.few_shot.items import FeatureGroup, feature_groups, source_table
from latency_model.few_shot.structured_gp import choose_samples, fit_structured_gp

SAMPLE_COUNT = 20
SOURCE_SAMPLES = 900  # per source device, as HELP trains on
_POOL = 2000
# Some NAS-Bench-201 networks are dead (0.003 ms on a phone): their relative error says nothing.
_DEAD_SHARE = 0.05


@dataclass(frozen=True)
class FewShotResult:
    """One target device with one seed; Spearman over the networks that were not sampled."""

    spearman: float
    mape: float
    coverage: float
    half_width: float
    own_coverage: float
    rescaled_spearman: float
    rescaled_mape: float
    scratch_spearman: float


def few_shot(
    space: PublicSpace, sources: Sequence[str], targets: Sequence[str], seed: int, sample_count: int = SAMPLE_COUNT
) -> dict[str, FewShotResult]:
    """Fit each target from ``sample_count`` chosen networks and judge it on all others."""
    rng = np.random.default_rng(seed)
    counts = space.counts
    tables, source_ms, labels = [], [], []
    for source in sources:
        known = np.flatnonzero(np.isfinite(space.latency_ms[source]))
        rows = rng.choice(known, min(SOURCE_SAMPLES, len(known)), replace=False)
        latency_ms = space.latency_ms[source][rows]
        table = source_table(counts[rows], latency_ms)
        tables.append(table)
        labels.append(SourceLabels(rows, latency_ms))
        source_ms.append(latency_ms.mean() * (1.0 + (counts - counts[rows].mean(axis=0)) @ table))
    groups = feature_groups(counts, space.items, np.array(tables))
    chosen = choose_samples(groups, sample_count, pool_size=_POOL, rng=rng)
    scores = rehearse(counts, space.items, np.array(tables), labels, sample_count, rng)
    results = {}
    for target in targets:
        truth = space.latency_ms[target]
        rows = _labelled_samples(groups, chosen, truth, rng)
        fit = fit_structured_gp(groups, rows, truth[rows])
        rest = np.setdiff1d(np.flatnonzero(np.isfinite(truth)), rows)
        std = fit.standard_deviation_ms()
        predicted = fit.predict_ms()
        widths = (rehearsed_factor(fit, scores, 0.9) * std, own_factor(fit, 0.9) * std)
        rescaled = best_source_rescaled(np.column_stack(source_ms), rows, truth[rows])
        scratch = ridge_from_scratch(counts, rows, truth[rows])
        results[target] = _judge(
            truth[rest], predicted[rest], (widths[0][rest], widths[1][rest]), rescaled[rest], scratch[rest]
        )
    return results


def _labelled_samples(
    groups: Sequence[FeatureGroup], chosen: IntArray, truth: FloatArray, rng: np.random.Generator
) -> IntArray:
    """The chosen networks; where the device has no label of some of them, as many chosen from those it has."""
    labelled = np.isfinite(truth)
    if labelled[chosen].all():
        return chosen
    rows = np.flatnonzero(labelled)
    of_labelled = [FeatureGroup(group.name, group.columns[rows]) for group in groups]
    return rows[choose_samples(of_labelled, len(chosen), pool_size=_POOL, rng=rng)]


def _judge(
    truth: FloatArray,
    predicted: FloatArray,
    half_widths: tuple[FloatArray, FloatArray],
    rescaled: FloatArray,
    scratch: FloatArray,
) -> FewShotResult:
    half, own_half = half_widths
    alive = truth > _DEAD_SHARE * np.median(truth)
    return FewShotResult(
        spearman=spearman(truth, predicted) or 0.0,
        mape=float(np.mean(np.abs(predicted / truth - 1)[alive])),
        coverage=float(np.mean(np.abs(predicted - truth) <= half)),
        half_width=float(np.median(half / truth)),
        own_coverage=float(np.mean(np.abs(predicted - truth) <= own_half)),
        rescaled_spearman=spearman(truth, rescaled) or 0.0,
        rescaled_mape=float(np.mean(np.abs(rescaled / truth - 1)[alive])),
        scratch_spearman=spearman(truth, scratch) or 0.0,
    )


def beside(results: Sequence[FewShotResult]) -> str:
    """What is printed beside a rank correlation: both baselines on the same samples, error and intervals."""

    def mean(field: str) -> float:
        return float(np.mean([getattr(result, field) for result in results]))

    return (
        f"best source rescaled {mean('rescaled_spearman'):.3f}, ridge from scratch {mean('scratch_spearman'):.3f}; "
        f"MAPE {mean('mape'):.1%}, 90 % intervals hold {mean('coverage'):.0%}"
    )
