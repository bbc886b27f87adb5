"""A Gaussian process with a linear kernel over groups of features, robust to outliers, for a few samples.

Each group has one scale; the scales and the noise maximise the evidence under a weak prior, as twenty samples
alone cannot tell them. Samples that a leave-one-out look shows to be far off are weighed down (Student noise); those
far from what the nearest source says have no say at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.errors import TooFewSamplesError
from latency_model.features import FloatArray
from latency_model.few_shot.items import FeatureGroup
from latency_model.few_shot.near_sources import is_far_off, with_near_sources

LEAST_SAMPLES = 3
_PRIOR_STD = 1.0
_NOISE_LOG = -3.5
_NOISE_STD = 0.8
_STUDENT_DEGREES = 4.0
_REWEIGHTINGS = 3
_WEIGHT_RANGE = (0.05, 1.2)
_NO_SAY = 1e-4
_BOUND = 5.0  # log scales further from their prior than this are never reasonable


@dataclass(frozen=True)
class StructuredFit:
    """The posterior over all networks of the pool, in units of the samples' median latency.

    Attributes:
        groups: those that were given, then the sources weighted by their likeness to the samples.
        level_ms: the samples' median latency.
        log_scales: one per group, then the noise's.
        alpha: (samples,) dual weights.
        inverse_gram: (samples, samples) inverse covariance of the samples.
        rows: which networks of the pool were measured.
        weights: (samples,) how far each sample is trusted.
    """

    groups: tuple[FeatureGroup, ...]
    level_ms: float
    log_scales: FloatArray
    alpha: FloatArray
    inverse_gram: FloatArray
    rows: npt.NDArray[np.int64]
    weights: FloatArray

    @property
    def noise_share(self) -> float:
        """Standard deviation of one measurement, as a share of the samples' median latency."""
        return float(np.exp(self.log_scales[-1]))

    def predict_ms(self) -> FloatArray:
        """(networks,) latency of every network of the pool."""
        total = np.zeros(len(self.groups[0].columns))
        for group, log_scale in zip(self.groups, self.log_scales, strict=False):
            total += np.exp(2 * log_scale) * (group.columns @ (group.columns[self.rows].T @ self.alpha))
        return total * self.level_ms

    def standard_deviation_ms(self) -> FloatArray:
        """(networks,) of a measurement of each network of the pool, noise included."""
        features = _stack(self.groups, self.log_scales)
        cross = features @ features[self.rows].T
        explained = np.einsum("ij,jk,ik->i", cross, self.inverse_gram, cross)
        noise = np.exp(2 * self.log_scales[-1])
        variance = (features**2).sum(axis=1) - explained + noise
        return np.asarray(np.sqrt(variance.clip(min=noise)) * self.level_ms)

    def item_covariance_ms2(self, counts: FloatArray) -> FloatArray:
        """(items + 1, items + 1) what is known of the cost of each item and of the constant, ms^2: the variance of a
        network's mean is ``x @ covariance @ x`` for x its counts and a 1.

        Args:
            counts: (networks, items) of the pool, which all columns of the groups are affine in.
        """
        features = _stack(self.groups, self.log_scales)
        of_items = np.linalg.lstsq(np.column_stack([counts, np.ones(len(counts))]), features, rcond=None)[0]
        seen = features[self.rows] @ of_items.T
        covariance = of_items @ of_items.T - seen.T @ self.inverse_gram @ seen
        return np.asarray(covariance * self.level_ms**2)

    def left_out_scores(self) -> FloatArray:
        """(samples,) error of each sample, predicted from the others, in standard deviations of a new measurement.

        An outlier that was trusted less counts in full here: new measurements may be outliers too.
        """
        variance = 1.0 / np.diag(self.inverse_gram)
        noise = np.exp(2 * self.log_scales[-1])
        as_new = np.maximum(variance - noise / self.weights, 0.0) + noise
        return np.asarray(np.abs(self.alpha) * variance / np.sqrt(as_new))


def fit_structured_gp(
    groups: Sequence[FeatureGroup], rows: npt.NDArray[np.int64], latency_ms: FloatArray
) -> StructuredFit:
    """Fit to the networks ``rows`` of the pool, measured at ``latency_ms``.

    Args:
        groups: as ``feature_groups`` makes them; the sources weighted by their likeness to the samples are added.
    Raises:
        TooFewSamplesError: fewer than 3 samples.
    """
    if len(rows) < LEAST_SAMPLES:
        raise TooFewSamplesError(f"{len(rows)} measured networks; a new device needs {LEAST_SAMPLES}, better 10 to 20.")
    far_off = is_far_off(groups, rows, latency_ms)
    groups = with_near_sources(groups, rows[~far_off], latency_ms[~far_off])
    level = float(np.median(latency_ms))
    targets = latency_ms / level
    grams = np.stack([group.columns[rows] @ group.columns[rows].T for group in groups])
    prior = np.array([*(group.prior_log_scale for group in groups), _NOISE_LOG])
    log_scales, weights = prior.copy(), np.where(far_off, _NO_SAY, 1.0)
    for _ in range(_REWEIGHTINGS):
        log_scales = _most_evident(grams, targets, weights, prior, log_scales)
        weights = np.where(far_off, _NO_SAY, _student_weights(grams, targets, weights, log_scales))
    inverse = np.linalg.inv(_covariance(grams, weights, log_scales))
    return StructuredFit(
        groups=groups,
        level_ms=level,
        log_scales=log_scales,
        alpha=inverse @ targets,
        inverse_gram=np.asarray(inverse, dtype=np.float64),
        rows=np.asarray(rows),
        weights=weights,
    )


def _covariance(grams: FloatArray, weights: FloatArray, log_scales: FloatArray) -> FloatArray:
    scaled = np.tensordot(np.exp(2 * log_scales[:-1]), grams, axes=1)
    return np.asarray(scaled + np.diag(np.exp(2 * log_scales[-1]) / weights))


def _most_evident(
    grams: FloatArray, targets: FloatArray, weights: FloatArray, prior: FloatArray, start: FloatArray
) -> FloatArray:
    """Log scales with the largest posterior density, by quasi-Newton with exact gradients."""
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to import

    spread = np.full(len(prior), _PRIOR_STD)
    spread[-1] = _NOISE_STD

    def loss(log_scales: FloatArray) -> tuple[float, FloatArray]:
        covariance = _covariance(grams, weights, log_scales)
        inverse = np.linalg.inv(covariance)
        alpha = inverse @ targets
        off = (log_scales - prior) / spread
        value = 0.5 * targets @ alpha + 0.5 * np.linalg.slogdet(covariance)[1] + 0.5 * off @ off
        outer = inverse - np.outer(alpha, alpha)
        variances = np.exp(2 * log_scales)
        slopes = variances[:-1] * np.einsum("kij,ij->k", grams, outer)
        noise_slope = variances[-1] * float(np.sum(np.diag(outer) / weights))
        return float(value), np.append(slopes, noise_slope) + off / spread

    bounds = list(zip(prior - _BOUND, prior + _BOUND, strict=True))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return np.asarray(found.x)


def _student_weights(grams: FloatArray, targets: FloatArray, weights: FloatArray, log_scales: FloatArray) -> FloatArray:
    """Trust in each sample from its leave-one-out error: (nu + 1) / (nu + z^2)."""
    inverse = np.linalg.inv(_covariance(grams, weights, log_scales))
    squared = (inverse @ targets) ** 2 / np.diag(inverse)
    return np.asarray(((_STUDENT_DEGREES + 1) / (_STUDENT_DEGREES + squared)).clip(*_WEIGHT_RANGE))


def choose_samples(
    groups: Sequence[FeatureGroup], count: int, *, pool_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Networks to measure, without any label of the device: greedy, each lowers the pool's variance the most.

    Worth as much as the model: published tasks, mean Spearman .762 by random samples, .866 by chosen ones.
    """
    total = len(groups[0].columns)
    pool = rng.choice(total, min(pool_size, total), replace=False)
    log_scales = np.array([*(group.prior_log_scale for group in groups), _NOISE_LOG])
    features = _stack(groups, log_scales)[pool]
    noise = float(np.exp(2 * _NOISE_LOG))
    covariance = features @ features.T
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        variance = np.diag(covariance)
        gain = (covariance**2).sum(axis=0) / (variance + noise)
        gain[chosen] = -1.0
        pick = int(np.argmax(gain))
        chosen.append(pick)
        column = covariance[:, pick]
        covariance = covariance - np.outer(column, column) / (variance[pick] + noise)
    return np.asarray(pool[chosen])


def _stack(groups: Sequence[FeatureGroup], log_scales: FloatArray) -> FloatArray:
    return np.concatenate(
        [np.exp(scale) * group.columns for group, scale in zip(groups, log_scales, strict=False)], axis=1
    )
