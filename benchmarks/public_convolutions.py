"""Phone GPUs: convolutions that no one measured, by trees on 1,000 others or on 200 that were chosen without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.claims import Claim, Options, at_most, not_measured
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import PhoneGpus
from latency_model.evaluate import error_figures
from latency_model.experiment_design import choose_ops
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.predictors import XGBoostPredictor
from latency_model.predictors.regression import fit_intervals, predict_with_intervals

_FEW, _MANY = 200, 1000
_JUDGED_OF_FEW = 300
_LEAST_JUDGED = 50
_AIM_MANY, _AIM_FEW = 0.08, 0.12


def convolution_claims(gpus: PhoneGpus | Absent, options: Options) -> Iterator[Claim]:
    """MAPE over devices and seeds; a device with too few convolutions is named."""
    if isinstance(gpus, Absent):
        yield not_measured("unseen convolutions, MAPE", f"<= {_AIM_MANY}", gpus.why)
        return
    seeds = range(1 if options.quick else 3)
    many, few = [], []
    for device, found in gpus.devices.items():
        timings = _timed(gpus, found.kernel_ms)
        count = 0 if timings is None else len(timings)
        for needed, title, aim in (
            (_MANY + _LEAST_JUDGED, "1,000 measured", _AIM_MANY),
            (_FEW + _JUDGED_OF_FEW, "200 chosen without labels", _AIM_FEW),
        ):
            if count < needed:
                why = f"{count} convolutions were timed; {needed} are needed"
                yield not_measured(f"unseen convolutions {device}, {title}, MAPE", f"<= {aim}", why)
        if timings is None:
            continue
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(count)
            if count >= _MANY + _LEAST_JUDGED:
                many.append(_unseen(timings, order[:_MANY], order[_MANY:], seed))
            if count >= _FEW + _JUDGED_OF_FEW:
                few.append(_few_chosen(timings, order[:-_JUDGED_OF_FEW], order[-_JUDGED_OF_FEW:], seed))
    if many:
        mapes = [mape for mape, _ in many]
        yield at_most(
            "unseen convolutions, 1,000 measured, MAPE",
            float(np.mean(mapes)),
            _AIM_MANY,
            unit="share",
            spread=(min(mapes), max(mapes)),
            note=f"90 % intervals hold {np.mean([coverage for _, coverage in many]):.0%}; "
            "published forest on raw shapes 15-18 %",
        )
    if few:
        mapes = [mape for mape, _, _ in few]
        yield at_most(
            "unseen convolutions, 200 chosen without labels, MAPE",
            float(np.mean(mapes)),
            _AIM_FEW,
            unit="share",
            spread=(min(mapes), max(mapes)),
            note=f"200 at random {np.mean([at_random for _, _, at_random in few]):.1%}; 90 % intervals hold "
            f"{np.mean([coverage for _, coverage, _ in few]):.0%}",
        )


def _timed(gpus: PhoneGpus, kernel_ms: FloatArray) -> OpTimings | None:
    """The convolutions of one device; None where there are none."""
    timed = zip(gpus.convolutions, kernel_ms, strict=True)
    samples = [(op, float(latency_ms), 0.0) for op, latency_ms in timed if op is not None and np.isfinite(latency_ms)]
    return pooled_timings(samples) if samples else None


def _few_chosen(timings: OpTimings, pool: Any, judged: Any, seed: int) -> tuple[float, float, float]:
    """MAPE and interval coverage with 200 chosen without labels, and MAPE with 200 at random."""
    row_of = {timings.ops[row]: row for row in pool}
    chosen = np.array([row_of[op] for op in choose_ops(list(row_of), _FEW)])
    chosen = np.random.default_rng(seed).permutation(chosen)
    return *_unseen(timings, chosen, judged, seed), _unseen(timings, pool[:_FEW], judged, seed)[0]


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
