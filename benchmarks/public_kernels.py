"""Phone GPUs: measured kernels to whole networks, and convolutions that no one measured."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured
from benchmarks.phone_kernels import PhoneNetworks, gpu_columns, phone_networks, read_phones
from benchmarks.public_data import DEFAULT_FOLDER
from latency_model.calibration import fit_affine
from latency_model.evaluate import error_figures
from latency_model.experiment_design import choose_ops, spread_rows
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import ConvSpec
from latency_model.predictors import XGBoostPredictor
from latency_model.predictors.conformal import conformal_quantile
from latency_model.predictors.regression import fit_intervals, predict_with_intervals

_CALIBRATION_COUNT = 10
_FEW, _MANY = 200, 1000
_LEAST_JUDGED = 50


def network_claims(options: Options) -> Iterator[Claim]:
    """a * sum + b * kernels + c from ten whole networks, against the plain sum of measured kernels."""
    folder = options.data or DEFAULT_FOLDER
    tables = read_phones(folder)
    if tables is None:
        yield not_measured("phone GPU kernels to networks, MAPE", "<= 0.035", f"no {folder / 'phone_gpu_kernels'}")
        return
    kernels, networks = tables
    repeats = 5 if options.quick else 20
    figures = []
    for phone in phone_networks(kernels, networks):
        if len(phone) <= _CALIBRATION_COUNT:
            yield not_measured(
                f"phone GPU {phone.device}, kernels to networks, MAPE",
                "<= 0.035",
                f"{len(phone)} networks have both kernels and a latency; {_CALIBRATION_COUNT} are calibrated on",
            )
            continue
        runs = [_calibrated(phone, seed) for seed in range(repeats)]
        figures.append(np.array(runs))
        mape, within_10, raw, coverage, half = np.mean(runs, axis=0)
        yield at_most(
            f"phone GPU {phone.device}, kernels to networks, MAPE",
            float(mape),
            0.035,
            unit="share",
            spread=(float(np.min(runs, axis=0)[0]), float(np.max(runs, axis=0)[0])),
            note=f"{_CALIBRATION_COUNT} calibration networks spread over the sums, {repeats} draws; plain sum "
            f"{raw:.1%}; within 10 %: {within_10:.0%}; 90 % intervals hold {coverage:.0%} (+-{half:.1%})",
        )
    if figures:
        mean = np.mean([np.mean(runs, axis=0) for runs in figures], axis=0)
        yield at_most("phone GPUs, kernels to networks, mean MAPE", float(mean[0]), 0.035, unit="share")
        yield at_least("phone GPUs, kernels to networks, within 10 %", float(mean[1]), 0.95, unit="share")


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


def convolution_claims(options: Options) -> Iterator[Claim]:
    """Trees on convolutions that were not measured: 1,000 random others, and 200 chosen without labels."""
    folder = options.data or DEFAULT_FOLDER
    tables = read_phones(folder)
    if tables is None:
        yield not_measured("unseen convolutions, MAPE", "<= 0.08", f"no {folder / 'phone_gpu_kernels'}")
        return
    many, few, coverages = [], [], []
    for column in gpu_columns(tables[0]):
        timings = _convolutions(tables[0], column)
        device = column.split("|")[0]
        if len(timings) < _MANY + _LEAST_JUDGED:
            yield not_measured(
                f"unseen convolutions {device}, 1,000 measured, MAPE", "<= 0.08", f"only {len(timings)} in the data"
            )
            continue
        for seed in range(1 if options.quick else 3):
            order = np.random.default_rng(seed).permutation(len(timings))
            mape, coverage = _unseen(timings, order[:_MANY], order[_MANY:], seed)
            many.append(mape)
            coverages.append(coverage)
            pool, judged = order[:-300], order[-300:]
            row_of = {timings.ops[row]: row for row in pool}
            chosen = np.array([row_of[op] for op in choose_ops(list(row_of), _FEW)])
            chosen = np.random.default_rng(seed).permutation(chosen)
            few.append((*_unseen(timings, chosen, judged, seed), _unseen(timings, pool[:_FEW], judged, seed)[0]))
    if not many:
        return
    yield at_most(
        "unseen convolutions, 1,000 measured, MAPE",
        float(np.mean(many)),
        0.08,
        unit="share",
        spread=(min(many), max(many)),
        note=f"90 % intervals hold {np.mean(coverages):.0%}; published forest on raw shapes 15-18 %",
    )
    chosen_mape = [row[0] for row in few]
    yield at_most(
        "unseen convolutions, 200 chosen without labels, MAPE",
        float(np.mean(chosen_mape)),
        0.12,
        unit="share",
        spread=(min(chosen_mape), max(chosen_mape)),
        note=f"200 at random {np.mean([row[2] for row in few]):.1%}; 90 % intervals hold "
        f"{np.mean([row[1] for row in few]):.0%}",
    )


def _convolutions(kernels: Any, column: str) -> OpTimings:
    rows = kernels[(kernels["operation"] == "CONV_2D") & (kernels[column] > 0)]
    samples = []
    for text, microseconds in zip(rows["feature"], rows[column], strict=True):
        fields = {name: int(value) for name, value in ast.literal_eval(text).items() if str(value).isdigit()}
        if fields["Kernel"] % 2 == 0:
            continue  # our specs pad symmetrically; an even window would be another op
        op = ConvSpec(
            in_channels=fields["Input_channel"],
            in_height=fields["Output_shape"] * fields["Stride"],
            in_width=fields["Output_shape"] * fields["Stride"],
            out_channels=fields["Filter"],
            kernel_size=fields["Kernel"],
            stride=fields["Stride"],
        )
        samples.append((op, microseconds / 1e3, 0.0))
    return pooled_timings(samples)


def _unseen(timings: OpTimings, fitted: Any, judged: Any, seed: int) -> tuple[float, float]:
    """MAPE and interval coverage on ``judged``. Intervals come from a fifth of the fitted ops that is held back."""
    held_back = fitted[: len(fitted) // 5]
    inner = timings.subset(fitted[len(fitted) // 5 :])
    left = timings.subset(held_back)
    intervals = fit_intervals(left, XGBoostPredictor.fit_function(inner, seed)(left.ops), 0.9)
    ops = [timings.ops[row] for row in judged]
    predict = XGBoostPredictor.fit_function(timings.subset(fitted), seed)
    predicted = predict_with_intervals(ops, predict, intervals, timings.ops)
    found = error_figures(timings.latency_ms[judged], predicted.mean_ms, (predicted.low_ms, predicted.high_ms))
    assert found.coverage is not None
    return found.mape, found.coverage
