"""Drift on public whole-network labels: follow it where a test finds it, and hurt no device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.claims import Claim, Options, at_most, not_measured
from benchmarks.public_data import DEFAULT_FOLDER, PublicSpace, is_exact_sum, read_help_space
from latency_model.drift import DriftReport, detect_drift, local_level
from latency_model.features import FloatArray
from latency_model.few_shot.items import bag_of_choices

_DRIFTING = ("essential_ph_1", "pixel2", "samsung_a50", "samsung_s7")
_FOLDS = 5
_ROUNDS = 3
_HURT = 0.01


@dataclass(frozen=True)
class DriftResult:
    report: DriftReport
    before_mape: float
    after_mape: float


def drift_claims(options: Options) -> Iterator[Claim]:
    """An additive table judged by cross-validation, with and without following the level of its residuals.

    The labels are in order of measurement. A network's level comes from its measured neighbours, as it would from
    a canary; its own label is never looked at.
    """
    folder = options.data or DEFAULT_FOLDER
    space = read_help_space(folder, "fbnet")
    if space is None:
        yield not_measured("drift, MAPE after over before", "<= 0.5", f"no {folder / 'help' / 'fbnet'}")
        return
    counts = bag_of_choices(space.choices)
    devices = [d for d in space.latency_ms if not is_exact_sum(space.choices, space.latency_ms[d])]
    if options.quick:
        devices = [d for d in devices if d in _DRIFTING or d.endswith("_1")]
    results = {device: follow_drift(counts, space.latency_ms[device]) for device in devices}
    for device in _DRIFTING:
        if device not in results:
            yield not_measured(f"drift {device}, MAPE after over before", "<= 0.5", "no such device in the data")
            continue
        result = results[device]
        yield at_most(
            f"drift {device}, MAPE after over before",
            result.after_mape / result.before_mape,
            0.5,
            unit="ratio",
            note=f"{result.before_mape:.1%} -> {result.after_mape:.1%}; neighbours correlate "
            f"{result.report.lag_correlation:.2f}{_rounding(space, device)}",
        )
    others = {device: result for device, result in results.items() if device not in _DRIFTING}
    if others:
        worst = max(others, key=lambda device: others[device].after_mape / others[device].before_mape)
        corrected = [device for device, result in others.items() if result.report.is_drifting]
        yield at_most(
            "drift, every other device, worst MAPE after over before",
            others[worst].after_mape / others[worst].before_mape,
            1.0 + _HURT,
            unit="ratio",
            note=f"worst {worst} of {len(others)}; corrected as the test asked: {', '.join(corrected) or 'none'}",
        )


def follow_drift(counts: FloatArray, latency_ms: FloatArray) -> DriftResult:
    """Cross-validate an additive table with and without the level of its neighbours' residuals."""
    labelled = np.isfinite(latency_ms)
    fold_of = np.random.default_rng(0).integers(0, _FOLDS, len(latency_ms))
    plain, followed = np.full(len(latency_ms), np.nan), np.full(len(latency_ms), np.nan)
    report = detect_drift(np.zeros(0))
    for fold in range(_FOLDS):
        known, judged = labelled & (fold_of != fold), labelled & (fold_of == fold)
        level = np.zeros(len(latency_ms))
        predicted = _additive(counts, latency_ms, known)
        plain[judged] = predicted[judged]
        for _ in range(_ROUNDS):
            residual = np.log(np.where(known, latency_ms, 1.0) / predicted)
            report = detect_drift(residual, known)
            if not report.is_drifting or report.half_window is None:
                level = np.zeros(len(latency_ms))
                predicted = _additive(counts, latency_ms, known)
                break
            level = local_level(residual, known, report.half_window)
            predicted = _additive(counts, latency_ms / np.exp(level), known)
        followed[judged] = (predicted * np.exp(level))[judged]
    return DriftResult(report, _mape(plain, latency_ms, labelled), _mape(followed, latency_ms, labelled))


def _additive(counts: FloatArray, latency_ms: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
    centre, level = counts[known].mean(axis=0), latency_ms[known].mean()
    centred = counts[known] - centre
    gram = centred.T @ centred + np.eye(counts.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (latency_ms[known] - level))
    return np.asarray(np.maximum(level + (counts - centre) @ weights, 0.05 * level))


def _mape(predicted: FloatArray, latency_ms: FloatArray, labelled: npt.NDArray[np.bool_]) -> float:
    return float(np.mean(np.abs(predicted[labelled] / latency_ms[labelled] - 1)))


def _rounding(space: PublicSpace, device: str) -> str:
    values = space.latency_ms[device]
    whole = bool(np.all(values[np.isfinite(values)] % 1.0 == 0))
    return "; labels are rounded to whole milliseconds" if whole else ""
