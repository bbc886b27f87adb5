"""Fit what the sum of ops misses, on whole networks of the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from latency_model.correction import (
    MOST_RELIEF,
    SHARED_TERMS,
    Correction,
    OpParts,
    contributions_ms,
    network_row,
    network_total_ms,
    op_parts,
    op_rows,
    prior_std_ms,
    unseen_variance,
)
from latency_model.errors import TooFewSamplesError
from latency_model.features import FloatArray, is_free
from latency_model.growth import SHARES, Growth, growth_by, likely_share
from latency_model.ops import OpSpec
from latency_model.posterior import LinearPosterior, held_at_bounds, linear_posterior, log_evidence
from latency_model.predictors.conformal import folds
from latency_model.predictors.protocol import LatencyPredictor

LEAST_NETWORKS = 3
LEAST_NETWORKS_TO_BEND = 6  # one more shape of error than a line has is not told from few
_FOLD_COUNT = 10
_SHARED_STD = 0.15
# Expected error of the affine form, and how far its terms may stray from "the sum is right" before the
# networks insist: these only matter while there are fewer networks than terms.
_AFFINE_ERROR = 0.02
_AFFINE_STD = 0.3
_OP_SPREADS = (0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3)
_EXACT = 1e-6  # noise of what must hold, as a share of a network
_TOLERANCE = 1e-5  # what may be missing to a bound, as a share of a network
_NOISE_SHARES = (0.003, 0.006, 0.01, 0.02, 0.04, 0.08)


@dataclass(frozen=True)
class NetworkTimings:
    """Whole networks: their ops, latency and the spread between sessions as a share of it."""

    networks: tuple[tuple[OpSpec, ...], ...]
    latency_ms: FloatArray
    relative_error: FloatArray

    def __len__(self) -> int:
        return len(self.networks)

    def without(self, growth: Growth) -> NetworkTimings:
        """What the networks' ops and constants add up to."""
        return replace(self, latency_ms=growth.sum_ms(self.latency_ms))

    def subset(self, rows: Sequence[int]) -> NetworkTimings:
        index = [int(row) for row in rows]
        return NetworkTimings(
            tuple(self.networks[row] for row in index), self.latency_ms[index], self.relative_error[index]
        )


@dataclass(frozen=True)
class Spreads:
    """How far ops stray inside networks, and networks from the model: both as a share of their latency."""

    op: float
    noise: float


_CANDIDATE_SPREADS = tuple(Spreads(op, noise) for op in _OP_SPREADS for noise in _NOISE_SHARES)


@dataclass(frozen=True)
class Calibration:
    """The fitted terms of a NetworkLatency; all but ``growth`` make the sum that it bends."""

    sum_factor: float
    kernel_ms: float
    constant_ms: float
    correction: Correction
    noise_share: float
    growth: Growth

    @property
    def spreads(self) -> Spreads:
        return Spreads(self.correction.op_spread, self.noise_share)

    def predict(
        self, predictor: LatencyPredictor, networks: Sequence[Sequence[OpSpec]]
    ) -> tuple[FloatArray, FloatArray]:
        """(n,) latencies and (n,) standard deviations of whole networks, milliseconds; the latter without what ops of
        their own add (``correction.unseen_variance``)."""
        parts = [self.parts_of(predictor, ops) for ops in networks]
        rows = np.stack([network_row(self.correction, part) for part in parts])
        base = np.array([part.base_ms.sum() for part in parts]) + self.constant_ms
        posterior = self.correction.posterior
        constant_ms = self.constant_ms + float(posterior.mean[-1] * self.correction.shared_scale[-1])
        sums_ms = np.array([network_total_ms(contributions_ms(self.correction, part), constant_ms) for part in parts])
        variance = posterior.variance(rows) + (self.noise_share * base) ** 2
        return self.growth.latency_ms(sums_ms), self.growth.slope(sums_ms) * np.sqrt(variance)

    def parts_of(self, predictor: LatencyPredictor, ops: Sequence[OpSpec]) -> OpParts:
        """What the op predictor and the affine form say of each op."""
        return op_parts(predictor, ops, self.sum_factor, self.kernel_ms)


def fit_affine(sums_ms: FloatArray, kernels: FloatArray, latency_ms: FloatArray) -> tuple[float, float, float]:
    """``latency = a * sum + b * kernels + c`` with a, b, c >= 0, least squares of the relative error.

    A weak pull towards a = 1, b = c = 0 keeps the fit sound where all networks are alike.

    Args:
        sums_ms: (n,) summed op latencies; kernels: (n,) kernel counts; latency_ms: (n,) measured.
    Returns:
        a (no unit), b in ms per kernel, c in ms.
    """
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    rows = np.column_stack([sums_ms, kernels, np.ones_like(sums_ms)]) / latency_ms[:, None]
    level, pull = rows.mean(axis=0), _AFFINE_ERROR / _AFFINE_STD
    prior = np.diag([pull, *(pull * level[1:])])
    solution, _ = nnls(np.vstack([rows, prior]), np.concatenate([np.ones(len(latency_ms)), prior @ [1.0, 0.0, 0.0]]))
    return float(solution[0]), float(solution[1]), float(solution[2])


def fit_calibration(
    predictor: LatencyPredictor,
    timings: NetworkTimings,
    candidates: Sequence[Spreads] = _CANDIDATE_SPREADS,
) -> Calibration:
    """Growth first, as far as the networks give evidence for it; of what they add up to, affine terms, then shifts of
    single ops as far as there is evidence for those.

    Args:
        candidates: the spreads to choose from by evidence.
    Raises:
        TooFewSamplesError: fewer than 3 whole networks.
    """
    if len(timings) < LEAST_NETWORKS:
        raise TooFewSamplesError(
            f"{len(timings)} whole networks; calibration needs {LEAST_NETWORKS}, better 10. The plain sum of ops "
            "is 14-48 % off on some devices: measure some whole networks too."
        )
    alone = [op_parts(predictor, ops, 1.0, 0.0) for ops in timings.networks]
    shares = SHARES if len(timings) >= LEAST_NETWORKS_TO_BEND else SHARES[:1]
    share = likely_share(shares, [_log_evidence(alone, timings, share, candidates) for share in shares])
    growth = growth_by(share, timings.latency_ms)
    affine, evidence = _straight_fit(alone, timings.without(growth))
    spreads = max(candidates, key=evidence.log_likelihood)
    unique = op_parts(predictor, _paid(timings.networks), affine.sum_factor, affine.kernel_ms)
    relief_ms = affine.constant_ms + MOST_RELIEF * float(evidence.base_ms.min())
    posterior = _without_negative_costs(evidence, spreads, unique, relief_ms)
    correction = replace(evidence.blank, posterior=posterior, op_spread=spreads.op)
    return Calibration(*affine, correction=correction, noise_share=spreads.noise, growth=growth)


def _log_evidence(
    alone: Sequence[OpParts], timings: NetworkTimings, share: float, candidates: Sequence[Spreads]
) -> float:
    """Of the latencies, if networks grew by ``share``: that of their sums, by the density of one over the other."""
    growth = growth_by(share, timings.latency_ms)
    sums = timings.without(growth)
    _, evidence = _straight_fit(alone, sums)
    return max(map(evidence.log_likelihood, candidates)) - float(np.log(growth.slope(sums.latency_ms)).sum())


class _Affine(NamedTuple):
    """As ``fit_affine`` returns it."""

    sum_factor: float
    kernel_ms: float
    constant_ms: float


def _straight_fit(alone: Sequence[OpParts], sums: NetworkTimings) -> tuple[_Affine, _Evidence]:
    """The affine form, and what is left to the shifts."""
    affine = _Affine(
        *fit_affine(
            np.array([part.base_ms.sum() for part in alone]),
            np.array([part.kernel_count.sum() for part in alone]),
            sums.latency_ms,
        )
    )
    parts = [part.at(affine.sum_factor, affine.kernel_ms) for part in alone]
    base_ms = np.array([part.base_ms.sum() for part in parts]) + affine.constant_ms
    return affine, _Evidence.of(parts, base_ms, sums)


@dataclass(frozen=True)
class _Evidence:
    """What the networks say about the shifts: rows of the design, residuals of the affine form, priors."""

    blank: Correction
    parts: Sequence[OpParts]
    rows: FloatArray
    base_ms: FloatArray
    timings: NetworkTimings

    @property
    def residuals_ms(self) -> FloatArray:
        return self.timings.latency_ms - self.base_ms

    @classmethod
    def of(cls, parts: Sequence[OpParts], base_ms: FloatArray, timings: NetworkTimings) -> _Evidence:
        blank = _blank_correction(parts, base_ms)
        rows = np.stack([network_row(blank, part) for part in parts])
        return cls(blank, parts, rows, base_ms, timings)

    def log_likelihood(self, spreads: Spreads) -> float:
        """How well the spreads go with the networks, and with what is believed of spreads."""
        return log_evidence(self.rows, self.residuals_ms, *self.deviations(spreads)) + _log_belief(spreads)

    def posterior(self, spreads: Spreads, constraints: tuple[FloatArray, FloatArray] | None = None) -> LinearPosterior:
        """The shifts under the given spreads; ``constraints`` are rows and the values that they must have."""
        prior_std, noise_ms = self.deviations(spreads)
        if constraints is None:
            return linear_posterior(self.rows, self.residuals_ms, prior_std, noise_ms)
        rows, values = constraints
        exact = np.full(len(values), _EXACT * float(self.timings.latency_ms.mean()))
        return linear_posterior(
            np.vstack([self.rows, rows]),
            np.concatenate([self.residuals_ms, values]),
            prior_std,
            np.concatenate([noise_ms, exact]),
        )

    def deviations(self, spreads: Spreads) -> tuple[FloatArray, FloatArray]:
        """(features,) of the shifts before anything is known, (networks,) of the networks around the model, ms."""
        op_std = _prior_of(self.parts, self.blank.ops, spreads.op)
        prior_std = np.concatenate([op_std, np.full(len(SHARED_TERMS), _SHARED_STD)])
        return prior_std, self.timings.latency_ms * np.hypot(spreads.noise, self.timings.relative_error / 2)


def _without_negative_costs(
    evidence: _Evidence, spreads: Spreads, unique: OpParts, relief_ms: float
) -> LinearPosterior:
    """The shifts, held where an op would otherwise cost less than nothing, weights less for being read among those of
    other ops, or the constant fall by more than ``relief_ms``.

    Cutting negative costs off afterwards would leave every network too slow by what was cut.
    """
    level_ms = float(evidence.blank.shared_scale[-1])
    of_ops = op_rows(evidence.blank, unique)
    of_terms = level_ms * np.eye(len(SHARED_TERMS), of_ops.shape[1], len(evidence.blank.ops))[-2:]  # weights, constant
    values_ms = np.vstack([of_ops, of_terms])
    least_ms = np.concatenate([-unique.base_ms, [0.0, -relief_ms]])
    posterior = evidence.posterior(spreads)
    if (values_ms @ posterior.mean >= least_ms - _TOLERANCE * level_ms).all():
        return posterior
    held = held_at_bounds(evidence.rows, evidence.residuals_ms, *evidence.deviations(spreads), values_ms, least_ms)
    return evidence.posterior(spreads, (values_ms[held], least_ms[held]))


def _paid(networks: Sequence[Sequence[OpSpec]]) -> list[OpSpec]:
    """The distinct ops that are not free, those that the affine form gives no time among them."""
    ops = list(dict.fromkeys(op for network in networks for op in network))
    return [op for op, free in zip(ops, is_free(ops).tolist(), strict=True) if not free]


def _log_belief(spreads: Spreads) -> float:
    """Mild prior: ops stray by some 4 %, networks by 1 %. It decides only where there are few networks."""
    spread_term = np.log(max(spreads.op, 0.005) / 0.04) / 1.5
    noise_term = np.log(spreads.noise / 0.01)
    return float(-0.5 * (spread_term**2 + noise_term**2))


def _blank_correction(parts: Sequence[OpParts], base_ms: FloatArray) -> Correction:
    """The columns of the design, with shifts of zero. One unit of each shared term is about one network."""
    ops = tuple(
        dict.fromkeys(op for part in parts for op, base in zip(part.ops, part.base_ms, strict=True) if base > 0)
    )
    level = float(base_ms.mean())
    kernels, edges, weights = (
        float(np.mean([getattr(part, name).sum() for part in parts]))
        for name in ("kernel_count", "edge_values", "weight_bytes")
    )
    size = len(ops) + len(SHARED_TERMS)
    return Correction(
        ops=ops,
        posterior=LinearPosterior(np.zeros(size), np.zeros((size, size)), 0.0),
        op_spread=0.0,
        shared_scale=np.array([1.0, level / kernels, level / edges, level / weights if weights else 0.0, level]),
    )


def _prior_of(parts: Sequence[OpParts], ops: Sequence[OpSpec], op_spread: float) -> FloatArray:
    std: dict[OpSpec, float] = {}
    for part in parts:
        std.update(zip(part.ops, map(float, prior_std_ms(part, op_spread)), strict=True))
    return np.array([std[op] for op in ops])


def cross_validate(
    predictor: LatencyPredictor,
    timings: NetworkTimings,
    spreads: Spreads,
    unmeasured_factor: float | None,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """(n,) latencies and (n,) standard deviations, each network predicted by a fit that never saw it.

    Args:
        spreads: of the fit that is judged. Kept fixed, so that an error and its standard deviation have the
            same scale in every fold; chosen anew in each, the intervals came out too tight.
        unmeasured_factor: as ``unseen_variance`` takes it.
    Raises:
        TooFewSamplesError: fewer than 4 whole networks: one is left out, 3 are fitted on.
    """
    if len(timings) <= LEAST_NETWORKS:
        raise TooFewSamplesError(
            f"{len(timings)} whole networks; judging the fit needs {LEAST_NETWORKS + 1} or more, better 10."
        )
    predicted, std = np.empty(len(timings)), np.empty(len(timings))
    for fitted, judged in folds(len(timings), min(_FOLD_COUNT, len(timings)), seed):
        calibration = fit_calibration(predictor, timings.subset(fitted.tolist()), [spreads])
        held_out = [timings.networks[row] for row in judged.tolist()]
        predicted[judged], of_known = calibration.predict(predictor, held_out)
        unseen = [
            unseen_variance(calibration.correction, calibration.parts_of(predictor, ops), unmeasured_factor)
            for ops in held_out
        ]
        slope = calibration.growth.slope(calibration.growth.sum_ms(predicted[judged]))
        std[judged] = np.sqrt(np.square(of_known) + np.square(slope) * unseen)
    return predicted, std


def interval_scores(timings: NetworkTimings, predicted: FloatArray, std: FloatArray) -> FloatArray:
    """(n,) errors on networks that the model did not see, in standard deviations."""
    return np.asarray(np.abs(timings.latency_ms - predicted) / std)
