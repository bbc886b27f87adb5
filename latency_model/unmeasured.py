"""How far networks stray whose ops nobody measured: judged on measured ops that are kept from the regressor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from latency_model.calibration import Calibration, NetworkTimings
from latency_model.correction import Correction, unseen_deviations
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec
from latency_model.posterior import LinearPosterior
from latency_model.predictors.conformal import IndexArray, folds
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.regression import kind_in_dtype
from latency_model.predictors.table import TablePredictor

FitRegressor = Callable[[OpTimings], LatencyPredictor]
_FOLD_COUNT = 3
_LEAST_OPS = 30  # a regressor of fewer says nothing about one of all


def hidden_scores(
    predictor: MeasuredFirstPredictor,
    calibration: Calibration,
    networks: NetworkTimings,
    fit_regressor: FitRegressor,
    *,
    seed: int,
) -> FloatArray:
    """(n, 3) what ``hidden_factor`` makes a factor of, for every network with hidden ops.

    A third of the ops at a time is taken off the table and kept from a regressor that is fitted anew; every network is
    priced with them as if nobody had measured them.

    Returns:
        No rows where there are too few ops to take a third away.
    """
    timings = predictor.table.timings
    found = [np.zeros((0, 3))]
    if len(timings) < _LEAST_OPS:
        return found[0]
    for kept, hidden in _kinds_kept(timings, folds(len(timings), _FOLD_COUNT, seed)):
        rest = timings.subset(kept)
        without = MeasuredFirstPredictor(TablePredictor.fit(rest, confidence=predictor.confidence), fit_regressor(rest))
        unknown = {timings.ops[int(row)] for row in hidden}
        found.append(_scores(without, _forget(calibration, unknown), networks, unknown))
    return np.concatenate(found)


def _kinds_kept(
    timings: OpTimings, parts: Iterable[tuple[IndexArray, IndexArray]]
) -> Iterator[tuple[IndexArray, IndexArray]]:
    """The same folds, but no kind of op is hidden as a whole: no regressor speaks of a kind that it has not seen."""
    kinds = np.array([" in ".join(kind_in_dtype(op)) for op in timings.ops])
    for kept, hidden in parts:
        has_others = np.isin(kinds[hidden], kinds[kept])
        yield np.concatenate([kept, hidden[~has_others]]), hidden[has_others]


def _forget(calibration: Calibration, ops: set[OpSpec]) -> Calibration:
    """The calibration without the shifts of single ops that it learned for ``ops``."""
    own = calibration.correction
    kept = [column for column, op in enumerate(own.ops) if op not in ops]
    columns = np.array([*kept, *range(len(own.ops), len(own.posterior.mean))])
    posterior = LinearPosterior(
        own.posterior.mean[columns], own.posterior.covariance[np.ix_(columns, columns)], own.posterior.log_evidence
    )
    correction: Correction = replace(own, ops=tuple(own.ops[column] for column in kept), posterior=posterior)
    return replace(calibration, correction=correction)


def _scores(
    predictor: MeasuredFirstPredictor,
    calibration: Calibration,
    networks: NetworkTimings,
    unknown: set[OpSpec],
) -> FloatArray:
    """(n, 3) of the networks with unknown ops: squared error, variance of all else, variance of the unknown, ms^2."""
    rows = []
    predicted, std = calibration.predict(predictor, networks.networks)
    for ops, latency_ms, mean, rest in zip(networks.networks, networks.latency_ms, predicted, std, strict=True):
        if unknown.isdisjoint(ops):
            continue
        parts = calibration.parts_of(predictor, ops)
        slope = float(calibration.growth.slope(calibration.growth.sum_ms(mean)))
        plain = float(np.sum(np.square(unseen_deviations(calibration.correction, parts, 0.0))))
        unit = float(np.sum(np.square(unseen_deviations(calibration.correction, parts, 1.0)))) - plain
        rows.append(((latency_ms - mean) ** 2, rest**2 + slope**2 * plain, slope**2 * unit))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
