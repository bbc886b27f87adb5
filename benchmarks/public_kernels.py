"""Phone GPUs: measured kernels to whole networks, calibrated on ten of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured
from benchmarks.phone_kernels import PhoneNetworks
from benchmarks.phone_noise import network_levels
from benchmarks.public_files import Absent, in_words
from benchmarks.public_kernel_data import KERNEL_FILE, NETWORK_FILE, PhoneGpus
from latency_model.calibration import fit_affine
from latency_model.evaluate import error_figures
from latency_model.experiment_design import spread_rows
from latency_model.features import FloatArray
from latency_model.predictors.conformal import conformal_quantile

_CALIBRATION_COUNT = 10
_LEAST_JUDGED = 10
_AIM = 0.035
_MOST_APART = 30.0  # of a network and its sum, in either direction; the public ones are within a factor of 2


def network_claims(gpus: PhoneGpus | Absent, options: Options) -> Iterator[Claim]:
    """a * sum + b * kernels + c from ten whole networks, against the plain sum of measured kernels."""
    if isinstance(gpus, Absent):
        yield not_measured("phone GPU kernels to networks, MAPE", f"<= {_AIM}", gpus.why)
        return
    repeats = 5 if options.quick else 20
    figures = []
    for device, found in gpus.devices.items():
        claim = f"phone GPU {device}, kernels to networks, MAPE"
        count = len(found.networks)
        if count < _CALIBRATION_COUNT + _LEAST_JUDGED:
            why = f"{count} networks have both kernels and a latency; {_CALIBRATION_COUNT} are calibrated on and "
            yield not_measured(claim, f"<= {_AIM}", found.lacks or f"{why}{_LEAST_JUDGED} or more judged")
            continue
        if (why := _in_another_unit(found.networks)) is not None:
            yield not_measured(claim, f"<= {_AIM}", why)
            continue
        runs = [_calibrated(found.networks, seed) for seed in range(repeats)]
        figures.append(np.array(runs))
        mape, within_10, raw, coverage, half = np.mean(runs, axis=0)
        yield at_most(
            claim,
            float(mape),
            _AIM,
            unit="share",
            spread=(float(np.min(runs, axis=0)[0]), float(np.max(runs, axis=0)[0])),
            note=f"{_CALIBRATION_COUNT} calibration networks spread over the sums, {repeats} draws; plain sum "
            f"{raw:.1%}; each network calibrated on all others: "
            f"{_by_all_others(found.networks):.1%}; within 10 %: {within_10:.0%}; 90 % intervals hold {coverage:.0%} "
            f"(+-{half:.1%}); {_own_noise(gpus, device)}"
            + (f"; without all kernels or a latency: {in_words(found.incomplete)}" if found.incomplete else ""),
        )
    if figures:
        mean = np.mean([np.mean(runs, axis=0) for runs in figures], axis=0)
        yield at_most("phone GPUs, kernels to networks, mean MAPE", float(mean[0]), _AIM, unit="share")
        yield at_least("phone GPUs, kernels to networks, within 10 %", float(mean[1]), 0.95, unit="share")


def _in_another_unit(phone: PhoneNetworks) -> str | None:
    """A calibration would scale a mistaken unit away."""
    ratio = float(np.median(phone.latency_ms / phone.sums_ms))
    if 1 / _MOST_APART <= ratio <= _MOST_APART:
        return None
    suspects = (NETWORK_FILE, KERNEL_FILE) if ratio < 1 else (KERNEL_FILE, NETWORK_FILE)
    apart = max(ratio, 1 / ratio)
    unit, finer = ("seconds", "picoseconds") if apart > _MOST_APART * 1e3 else ("milliseconds", "nanoseconds")
    return (
        f"whole networks take {ratio:.3g} times the sum of their kernels in the median: {suspects[0]} looks like "
        f"{unit}, or {suspects[1]} like {finer}, where both are to be in microseconds"
    )


def _own_noise(gpus: PhoneGpus, device: str) -> str:
    levels = network_levels(gpus, device)
    if len(levels) < _LEAST_JUDGED:
        return "too few kernels stand in several networks to tell the phone's own noise"
    return (
        f"the same kernels in other networks: levels {levels.std():.1%} apart (one deviation, {len(levels)} networks)"
    )


def _calibrated(phone: PhoneNetworks, seed: int) -> tuple[float, ...]:
    """MAPE, share within 10 %, MAPE of the plain sum, coverage and half-width on the networks not calibrated on."""
    sums, counts, truth = phone.sums_ms, phone.kernel_count, phone.latency_ms
    offset = np.random.default_rng(seed).random()
    fitted = np.array(spread_rows(sums, _CALIBRATION_COUNT, offset))
    judged = np.setdiff1d(np.arange(len(truth)), fitted)

    def predict(rows: Any, where: Any) -> FloatArray:
        a, b, c = fit_affine(sums[rows], counts[rows], truth[rows])
        return np.asarray(a * sums[where] + b * counts[where] + c)

    left_out = [
        abs(float(predict(np.delete(fitted, i), fitted[i : i + 1])[0] / truth[row]) - 1) for i, row in enumerate(fitted)
    ]
    half = conformal_quantile(np.array(left_out), 0.9)
    predicted = predict(fitted, judged)
    found = error_figures(truth[judged], predicted, (predicted / (1 + half), predicted / max(1 - half, 0.01)))
    raw = error_figures(truth[judged], sums[judged])
    assert found.coverage is not None
    assert found.mean_half_width is not None
    return found.mape, found.within_10_percent, raw.mape, found.coverage, found.mean_half_width


def _by_all_others(phone: PhoneNetworks) -> float:
    """MAPE of the same form where nothing is wanting for networks: what is left is not the few that calibrate."""
    sums, counts, truth = phone.sums_ms, phone.kernel_count, phone.latency_ms
    errors = []
    for row in range(len(truth)):
        a, b, c = fit_affine(*(np.delete(values, row) for values in (sums, counts, truth)))
        errors.append(abs((a * sums[row] + b * counts[row] + c) / truth[row] - 1))
    return float(np.mean(errors))
