"""Drift on public whole-network labels: follow it where a test finds it, and hurt no device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, at_most, fact, not_measured
from benchmarks.public_additive import BoolArray, additive_ms, folds_of, is_exact_sum
from benchmarks.public_data import PublicSpace
from benchmarks.public_files import Absent
from latency_model.drift import DriftReport, canary_level, detect_drift, local_level
from latency_model.features import FloatArray
from latency_model.predictors.conformal import IndexArray
from profiler_agent.device import TimingPlan

_ASKED = ("essential_ph_1", "pixel2", "samsung_a50", "samsung_s7")  # the issue asks for these to be halved
_ROUNDS = 3
_CANARY_FOLDS = 2
_HALVED = 0.5
# A device that errs by less has little to halve: what remains is not drift but what no additive table can say.
_LEAST_MAPE_TO_HALVE = 0.03
_HURT = 0.01
_LEAST_PER_COLUMN = 10  # with fewer labels the table's own error is much of what is left
# A level that is read from a few neighbours of the same noise adds about a tenth to it.
_OF_NEIGHBOURS = 1.1


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """Attributes:
    report: the test on the residuals of the whole series, each predicted without itself.
    noise_mape: what would be left after a perfect correction, by the differences of neighbours.
    per_column: labels for each column of the additive table.
    """

    report: DriftReport
    before_mape: float
    after_mape: float
    noise_mape: float
    per_column: float

    @property
    def ratio(self) -> float:
        return self.after_mape / self.before_mape

    @property
    def why_not_to_be_halved(self) -> str | None:
        if not self.report.is_drifting:
            return "the test finds no drift, so there is nothing to halve"
        if self.per_column < _LEAST_PER_COLUMN:
            return (
                f"{self.per_column:.1f} networks for each column of the table, fewer than {_LEAST_PER_COLUMN}: its own "
                "error is not told from drift"
            )
        if self.noise_mape * _OF_NEIGHBOURS > _HALVED * self.before_mape:
            return f"the noise alone is {self.noise_mape:.1%}: neighbours that noisy cannot be asked to halve it"
        return None


def drift_claims(space: PublicSpace | Absent) -> Iterator[Claim]:
    """An additive table judged by cross-validation, with and without following the level of its residuals.

    The labels are in order of measurement. A network's level comes from its measured neighbours, as it would from
    a canary; its own label is never looked at. Devices are found by the test, whatever they are called: those that
    drift, and err by 3 % or more if the issue does not name them, are to be halved where noise and networks allow it;
    where they do not, what following them brings is a fact. All that are not to be halved must not be hurt.
    """
    if isinstance(space, Absent):
        yield not_measured("drift, MAPE after over before", f"<= {_HALVED}", space.why)
        return
    results = {
        device: follow_drift(space.counts, latency_ms)
        for device, latency_ms in space.latency_ms.items()
        if device in _ASKED or not is_exact_sum(space.counts, latency_ms)
    }
    for device in _ASKED:
        if device not in results:
            yield not_measured(_title(device), f"<= {_HALVED}", space.why_without([device]))
    others = {}
    for device, result in results.items():
        latency_ms = space.latency_ms[device]
        is_looked_at = device in _ASKED or (result.report.is_drifting and result.before_mape >= _LEAST_MAPE_TO_HALVE)
        if is_looked_at and result.why_not_to_be_halved is None:
            by_canary = canary_ratio(space.counts, latency_ms)
            note = f"by the correction of campaigns, each network's canary the one before it: {by_canary:.2f}"
            said = f"{_course(result)}; {note}{_rounding(latency_ms)}"
            yield at_most(_title(device), result.ratio, _HALVED, unit="ratio", note=said)
            continue
        if is_looked_at:
            said = f"{_course(result)}; {result.why_not_to_be_halved}{_rounding(latency_ms)}"
            yield fact(_title(device), result.ratio, unit="ratio", note=said)
        if not is_exact_sum(space.counts, latency_ms):
            others[device] = result
    yield _others_claim(others, space)


def _title(device: str) -> str:
    return f"drift {device}, MAPE after over before"


def _course(result: DriftResult) -> str:
    return (
        f"{result.before_mape:.1%} -> {result.after_mape:.1%}; neighbours correlate {result.report.lag_correlation:.2f}"
    )


def _others_claim(others: Mapping[str, DriftResult], space: PublicSpace) -> Claim:
    title = "drift, every other device, worst MAPE after over before"
    if not others:
        return not_measured(title, f"<= {1.0 + _HURT:g}", f"no other device in {space.file} but exact sums")
    worst = max(others, key=lambda device: others[device].ratio)
    corrected = [
        f"{device} ({result.before_mape:.1%} -> {result.after_mape:.1%})"
        for device, result in others.items()
        if result.report.is_drifting and result.before_mape < _LEAST_MAPE_TO_HALVE
    ]
    return at_most(
        title,
        others[worst].ratio,
        1.0 + _HURT,
        unit="ratio",
        note=f"worst {worst} of {len(others)}; drift is found, below the {_LEAST_MAPE_TO_HALVE:.0%} from which it is "
        f"to be halved: {', '.join(corrected) or 'none'}",
    )


def follow_drift(counts: FloatArray, latency_ms: FloatArray) -> DriftResult:
    """Cross-validate an additive table with and without the level of its neighbours' residuals."""
    labelled = np.isfinite(latency_ms)
    fold_of = folds_of(len(latency_ms))
    plain, followed, without_level = (np.full(len(latency_ms), np.nan) for _ in range(3))
    for fold in range(fold_of.max() + 1):
        known, judged = labelled & (fold_of != fold), labelled & (fold_of == fold)
        level = np.zeros(len(latency_ms))
        predicted = additive_ms(counts, latency_ms, known)
        plain[judged] = predicted[judged]
        for _ in range(_ROUNDS):
            residual = np.log(np.where(known, latency_ms, 1.0) / predicted)
            report = detect_drift(residual, known)
            if not report.is_drifting or report.half_window is None:
                level = np.zeros(len(latency_ms))
                predicted = additive_ms(counts, latency_ms, known)
                break
            level = local_level(residual, known, report.half_window)
            predicted = additive_ms(counts, latency_ms / np.exp(level), known)
        followed[judged] = (predicted * np.exp(level))[judged]
        without_level[judged] = predicted[judged]
    report = detect_drift(np.log(np.where(labelled, latency_ms / plain, 1.0)), labelled)
    return DriftResult(
        report=report,
        before_mape=_mape(plain, latency_ms, labelled),
        after_mape=_mape(followed, latency_ms, labelled),
        noise_mape=_noise(np.log(latency_ms[labelled] / without_level[labelled])),
        per_column=float(labelled.sum() / counts.shape[1]),
    )


def _noise(log_residuals: FloatArray) -> float:
    """Mean absolute residual without drift, which neighbours share: two that are independent differ by sqrt(2) more."""
    return float(np.abs(np.diff(log_residuals)).mean() / np.sqrt(2))


def canary_ratio(counts: FloatArray, latency_ms: FloatArray) -> float:
    """MAPE after over before with what the product does to a campaign: each latency over the level of its canary.

    The canary beside a network is the one that was measured before it, read as slow as an additive table says. It is a
    coarse one: a real canary is the same op each time. Judged on the first folds, as each takes a few seconds.
    """
    labelled = np.isfinite(latency_ms)
    fold_of = folds_of(len(latency_ms))
    plain, corrected = np.full(len(latency_ms), np.nan), np.full(len(latency_ms), np.nan)
    for fold in range(min(_CANARY_FOLDS, fold_of.max() + 1)):
        known, judged = labelled & (fold_of != fold), labelled & (fold_of == fold)
        predicted = additive_ms(counts, latency_ms, known)
        plain[judged] = predicted[judged]
        beside = _known_before(known)
        level = np.zeros(len(latency_ms))
        for _ in range(_ROUNDS):
            residual = np.log(np.where(known, latency_ms, 1.0) / predicted)
            level[labelled], _ = canary_level(residual[beside][labelled], TimingPlan())
            predicted = additive_ms(counts, latency_ms / np.exp(level), known)
        corrected[judged] = (predicted * np.exp(level))[judged]
    judged = np.isfinite(plain)
    return _mape(corrected, latency_ms, judged) / _mape(plain, latency_ms, judged)


def _known_before(known: BoolArray) -> IndexArray:
    """(n,) the nearest known entry before each; the first known one where there is none."""
    latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    before = np.concatenate([[-1], latest[:-1]])
    return np.where(before < 0, np.flatnonzero(known)[0], before)


def _mape(predicted: FloatArray, latency_ms: FloatArray, labelled: BoolArray) -> float:
    return float(np.mean(np.abs(predicted[labelled] / latency_ms[labelled] - 1)))


def _rounding(latency_ms: FloatArray) -> str:
    whole = bool(np.all(latency_ms[np.isfinite(latency_ms)] % 1.0 == 0))
    return "; labels are rounded to whole milliseconds" if whole else ""
