"""Latency recipes on published phone GPUs: a table of all kernels, or the kernels of other networks alone.

Ours is the op predictor that ``fit_predictor`` would choose on these kernels and the calibration of ``NetworkLatency``;
the data hold no raw timings, which ``fit_predictor`` itself asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.baseline_claims import (
    BY_CORRECTED_FORESTS,
    BY_FORESTS,
    BY_MACS,
    BY_SUM,
    OURS,
    Run,
    WholeNetworks,
    comparison_claims,
    corrected_sums_ms,
    judged_run,
    macs_affine_ms,
)
from benchmarks.baseline_forest import KernelForests
from benchmarks.claims import Claim, not_measured
from benchmarks.phone_kernels import numbers_of, op_of
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import PhoneGpus
from latency_model.calibration import NetworkTimings, fit_calibration
from latency_model.errors import LatencyModelError
from latency_model.experiment_design import spread_rows
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import OpSpec, OpSpecError
from latency_model.predictors import LatencyPredictor, TablePredictor, XGBoostPredictor
from latency_model.predictors.auto import fit_auto
from latency_model.predictors.measured_first import MeasuredFirstPredictor

_CALIBRATION_COUNT = 10
_FOLD_COUNT = 5
_LEAST_NETWORKS = 30
_MEASURED = "phone GPUs, all kernels measured"
_UNSEEN = "phone GPUs, kernels of other networks measured"


@dataclass(frozen=True)
class Phone:
    """One phone's networks in ops, and the latency of each of their kernels; all (n,) of networks, milliseconds."""

    device: str
    whole: WholeNetworks
    kernels_ms: tuple[tuple[float, ...], ...]

    def networks(self, rows: list[int]) -> WholeNetworks:
        return WholeNetworks(tuple(self.whole.networks[row] for row in rows), self.whole.latency_ms[rows])

    def timings(self, rows: list[int]) -> OpTimings:
        """The kernels of these networks; those of one configuration become their median."""
        return pooled_timings(
            (op, latency_ms, 0.0)
            for row in rows
            for op, latency_ms in zip(self.whole.networks[row], self.kernels_ms[row], strict=True)
        )


def phone_claims(gpus: PhoneGpus | Absent, *, quick: bool) -> Iterator[Claim]:
    """Ten calibration networks a phone; the recipes that use none get none."""
    if isinstance(gpus, Absent):
        yield from (_no_figures(setting, gpus.why) for setting in (_MEASURED, _UNSEEN))
        return
    every = read_phones(gpus)
    phones = [phone for phone in every if len(phone.whole) >= _LEAST_NETWORKS][: 1 if quick else None]
    if not phones:
        counts = ", ".join(f"{phone.device} {len(phone.whole)}" for phone in every)
        why = f"networks by phone: {counts or 'none'}; {_LEAST_NETWORKS} are needed"
        yield from (_no_figures(setting, why) for setting in (_MEASURED, _UNSEEN))
        return
    note = (
        f"{_CALIBRATION_COUNT} calibration networks; {', '.join(f'{p.device} {len(p.whole)}' for p in phones)} of "
        f"{len(set(gpus.models))} networks, the others have concatenations or windows that no op describes"
    )
    draws, folds, fit = (3, 1, _boosted_trees) if quick else (20, _FOLD_COUNT, _chosen)
    for setting, runs, how in (
        (_MEASURED, (run for phone in phones for run in _measured_runs(phone, draws)), f"{draws} draws of"),
        (_UNSEEN, (run for phone in phones for run in _unseen_runs(phone, folds, fit)), _known(phones, folds)),
    ):
        try:
            yield from comparison_claims(setting, list(runs), f"{how} {note}")
        except LatencyModelError as error:
            yield _no_figures(setting, str(error).splitlines()[0])


def _no_figures(setting: str, why: str) -> Claim:
    return not_measured(f"{setting}: MAPE of ours over {BY_FORESTS}", "<= 1", why)


def read_phones(gpus: PhoneGpus) -> list[Phone]:
    """The networks of each phone that are made of ops alone."""
    rows_of: dict[str, list[int]] = {}
    for row, model in enumerate(gpus.models):
        rows_of.setdefault(model, []).append(row)
    ops = [_op(operation, feature) for operation, feature in zip(gpus.operations, gpus.features, strict=True)]
    phones = []
    for device, found in gpus.devices.items():
        models, latency, networks, kernels_ms = found.networks.models, [], [], []
        for model, latency_ms in zip(models, found.networks.latency_ms, strict=True):
            described = [op for row in rows_of[model] if (op := ops[row]) is not None]
            if len(described) == len(rows_of[model]):
                latency.append(float(latency_ms))
                networks.append(tuple(described))
                kernels_ms.append(tuple(float(found.kernel_ms[row]) for row in rows_of[model]))
        phones.append(Phone(device, WholeNetworks(tuple(networks), np.array(latency)), tuple(kernels_ms)))
    return phones


def _op(operation: str, feature: str) -> OpSpec | None:
    try:
        return op_of(operation, numbers_of(feature))
    except (ValueError, SyntaxError, KeyError, AttributeError, OpSpecError):
        return None  # a damaged line: its network is left out


def _measured_runs(phone: Phone, draws: int) -> Iterator[Run]:
    """A table of all kernels; the calibration networks are drawn anew each time."""
    rows = list(range(len(phone.whole)))
    timings = phone.timings(rows)
    table, forests = TablePredictor.fit(timings), KernelForests.fit(timings, "gpu")
    for draw in range(draws):
        chosen = _spread(phone, rows, np.random.default_rng(draw).random())
        calibration = phone.networks(chosen)
        judged = phone.networks([row for row in rows if row not in chosen])
        predicted_ms = _recipes(table, forests, calibration, judged)
        predicted_ms[BY_SUM] = judged.sums_ms(lambda each: table.predict_ms(each).mean_ms)
        yield judged_run(phone.device, judged, predicted_ms)


def _unseen_runs(phone: Phone, folds: int, fit: Callable[[OpTimings], LatencyPredictor]) -> Iterator[Run]:
    """Op predictors see the kernels of four fifths of the networks; the calibration networks are among those."""
    for rows, judged_rows in _folds(phone, folds):
        timings = phone.timings(rows)
        ours = fit(timings)
        calibration, judged = phone.networks(_spread(phone, rows, 0.5)), phone.networks(judged_rows)
        predicted_ms = _recipes(ours, KernelForests.fit(timings, "gpu"), calibration, judged)
        yield judged_run(phone.device, judged, predicted_ms)


def _chosen(timings: OpTimings) -> LatencyPredictor:
    return fit_auto(timings)[0]


def _boosted_trees(timings: OpTimings) -> LatencyPredictor:
    """Without the half minute of choosing."""
    return MeasuredFirstPredictor(TablePredictor.fit(timings), XGBoostPredictor.fit(timings))


def _folds(phone: Phone, folds: int) -> Iterator[tuple[list[int], list[int]]]:
    """Rows whose kernels are measured, rows to judge by."""
    order = np.random.default_rng(0).permutation(len(phone.whole)).tolist()
    for fold in range(folds):
        judged = order[fold::_FOLD_COUNT]
        yield [row for row in order if row not in judged], judged


def _known(phones: list[Phone], folds: int) -> str:
    """What a table alone could do: other networks hold kernels of the same configuration."""
    shares = []
    for phone in phones:
        for rows, judged in _folds(phone, folds):
            known = {op for row in rows for op in phone.whole.networks[row]}
            shares += [np.mean([op in known for op in phone.whole.networks[row]]) for row in judged]
    return (
        f"{folds} of {_FOLD_COUNT} folds; the other networks have {np.mean(shares):.0%} of a network's kernels in the "
        f"same configuration, and a table alone could price {np.mean(np.array(shares) == 1):.0%} of the networks;"
    )


def _spread(phone: Phone, rows: list[int], offset: float) -> list[int]:
    sums_ms = np.array([sum(phone.kernels_ms[row]) for row in rows])
    return [rows[each] for each in spread_rows(sums_ms, _CALIBRATION_COUNT, offset)]


def _recipes(
    ours: LatencyPredictor, forests: KernelForests, calibration: WholeNetworks, judged: WholeNetworks
) -> dict[str, FloatArray]:
    """All but the plain sum of a table."""
    known = NetworkTimings(calibration.networks, calibration.latency_ms, np.zeros(len(calibration)))
    return {
        OURS: fit_calibration(ours, known).predict(ours, judged.networks)[0],
        BY_MACS: macs_affine_ms(calibration, judged),
        BY_FORESTS: judged.sums_ms(forests.predict_ms),
        BY_CORRECTED_FORESTS: corrected_sums_ms(forests.predict_ms, calibration, judged),
    }
