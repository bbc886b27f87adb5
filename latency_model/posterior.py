"""Linear regression with Gaussian priors: a few whole networks correct many ops, in closed form.

With ``targets = features @ weights + noise`` and independent Gaussian priors on the weights, the posterior is
Gaussian too: its mean is a ridge solution, its covariance gives every prediction an error bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latency_model.features import FloatArray


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
    gram = scaled @ scaled.T + np.diag(noise_std**2)
    factor = np.linalg.cholesky(gram)
    whitened_targets = np.linalg.solve(factor, targets)
    whitened_features = np.linalg.solve(factor, scaled)
    mean = prior_std * (whitened_features.T @ whitened_targets)
    inner = np.eye(len(prior_std)) - whitened_features.T @ whitened_features
    covariance = prior_std[:, None] * inner * prior_std[None, :]
    log_evidence = (
        -0.5 * float(whitened_targets @ whitened_targets)
        - float(np.log(np.diag(factor)).sum())
        - 0.5 * len(targets) * float(np.log(2 * np.pi))
    )
    return LinearPosterior(mean=mean, covariance=covariance, log_evidence=log_evidence)
