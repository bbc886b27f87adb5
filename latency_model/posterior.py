"""Linear regression with Gaussian priors: a few whole networks correct many ops, in closed form.

With ``targets = features @ weights + noise`` and independent Gaussian priors on the weights, the posterior is
Gaussian too: its mean is a ridge solution, its covariance gives every prediction an error bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray

_MOST_ROUNDS = 200
_PATIENCE = 3  # rounds in which the bounds that are wrong may grow in number, before one is mended at a time
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LinearPosterior:
    """What is known of the weights after seeing the targets.

    Attributes:
        mean: (features,).
        covariance: (features, features).
        log_evidence: how probable the targets were under the prior; compares priors.
    """

    mean: FloatArray
    covariance: FloatArray
    log_evidence: float

    def predict(self, features: FloatArray) -> FloatArray:
        """(n,) mean of new targets from (n, features)."""
        return np.asarray(features @ self.mean)

    def variance(self, features: FloatArray) -> FloatArray:
        """(n,) variance of the mean of new targets, without their noise."""
        return np.asarray(np.einsum("ij,jk,ik->i", features, self.covariance, features).clip(min=0.0))


def linear_posterior(
    features: FloatArray, targets: FloatArray, prior_std: FloatArray, noise_std: FloatArray
) -> LinearPosterior:
    """Posterior of the weights, by the dual form: cheap when there are few targets and many features.

    Args:
        features: (n, features).
        targets: (n,).
        prior_std: (features,), of the weights around 0.
        noise_std: (n,), above 0.
    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.1.
    """
    scaled = features * prior_std
    factor = _factor_of_targets(scaled, noise_std)
    whitened_targets = np.asarray(np.linalg.solve(factor, targets), dtype=np.float64)
    whitened_features = np.linalg.solve(factor, scaled)
    mean = prior_std * (whitened_features.T @ whitened_targets)
    inner = np.eye(len(prior_std)) - whitened_features.T @ whitened_features
    covariance = prior_std[:, None] * inner * prior_std[None, :]
    return LinearPosterior(mean=mean, covariance=covariance, log_evidence=_log_density(factor, whitened_targets))


def log_evidence(features: FloatArray, targets: FloatArray, prior_std: FloatArray, noise_std: FloatArray) -> float:
    """That of ``linear_posterior``, without the rest of it."""
    factor = _factor_of_targets(features * prior_std, noise_std)
    return _log_density(factor, np.asarray(np.linalg.solve(factor, targets), dtype=np.float64))


def _factor_of_targets(scaled: FloatArray, noise_std: FloatArray) -> FloatArray:
    """Cholesky factor of the covariance of the targets under the prior."""
    return np.asarray(np.linalg.cholesky(scaled @ scaled.T + np.diag(noise_std**2)))


def _log_density(factor: FloatArray, whitened_targets: FloatArray) -> float:
    return (
        -0.5 * float(whitened_targets @ whitened_targets)
        - float(np.log(np.diag(factor)).sum())
        - 0.5 * len(whitened_targets) * float(np.log(2 * np.pi))
    )


def held_at_bounds(
    features: FloatArray,
    targets: FloatArray,
    prior_std: FloatArray,
    noise_std: FloatArray,
    values: FloatArray,
    least: FloatArray,
) -> npt.NDArray[np.bool_]:
    """(bounds,) which ``values @ weights`` lie at ``least`` where the weights are the most likely ones that leave none
    below it. In the dual form, so that many bounds cost little where few of them hold.

    Args:
        values: (bounds, features); least: (bounds,).
        features, targets, prior_std, noise_std: as ``linear_posterior`` takes them.
    Source: block principal pivoting, Judice and Pires, 1994: bounds that are missed are held and those that only hold
    the weights back are let go, all at once while that helps, else the last one.
    """
    held = np.zeros(len(least), dtype=bool)
    fewest, patience = len(least) + 1, _PATIENCE
    exact = _ROUNDING * float(np.square(noise_std).mean())
    for _ in range(_MOST_ROUNDS):
        scaled = np.vstack([features, values[held]]) * prior_std
        noise = np.concatenate([np.square(noise_std), np.full(int(held.sum()), exact)])
        forces = np.linalg.solve(scaled @ scaled.T + np.diag(noise), np.concatenate([targets, least[held]]))
        gap = values @ (prior_std * (scaled.T @ forces)) - least
        wrong = ~held & (gap < -_ROUNDING * np.abs(least).max())
        wrong[held] = forces[len(targets) :] < -_ROUNDING * np.abs(forces).max()
        count = int(wrong.sum())
        if count == 0:
            break
        if count < fewest:
            fewest, patience = count, _PATIENCE
        elif patience:
            patience -= 1
        else:
            wrong[: int(np.flatnonzero(wrong)[-1])] = False
        held ^= wrong
    return held
