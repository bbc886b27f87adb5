"""The most likely shifts within bounds, against a solver of scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from latency_model.posterior import held_at_bounds, linear_posterior

SHARED = 3


def problem(seed):
    """Networks as counts of ops, each op a value of its own and a share of three common ones, bounds below zero."""
    rng = np.random.default_rng(seed)
    networks, ops = int(rng.integers(4, 40)), int(rng.integers(5, 60))
    of_ops = np.hstack([np.eye(ops), rng.random((ops, SHARED))])
    values = np.vstack([of_ops, np.eye(SHARED, ops + SHARED, ops)])
    features = rng.integers(0, 3, (networks, ops)) @ of_ops
    prior_std = rng.uniform(0.01, 0.5, ops + SHARED)
    noise_std = rng.uniform(0.01, 0.1, networks)
    targets = features @ (prior_std * rng.standard_normal(ops + SHARED)) + noise_std * rng.standard_normal(networks)
    least = -0.1 * np.abs(rng.standard_normal(ops + SHARED))
    return features, targets, prior_std, noise_std, values, least


@pytest.mark.parametrize("seed", range(30))
def test_the_bounds_that_hold_are_those_of_bounded_least_squares(seed):
    features, targets, prior_std, noise_std, values, least = problem(seed)
    held = held_at_bounds(features, targets, prior_std, noise_std, values, least)
    rows = np.vstack([features / noise_std[:, None], np.diag(1 / prior_std)]) @ np.linalg.inv(values)
    whitened = np.concatenate([targets / noise_std, np.zeros(len(prior_std))])
    found = lsq_linear(rows, whitened, (least, np.inf), method="bvls", max_iter=1000)
    assert held.any()
    assert held.tolist() == (found.active_mask < 0).tolist()


def test_a_bound_that_was_missed_only_because_of_another_is_let_go():
    """Both are missed at first; with the sum held, the first weight is within its own."""
    features, targets = np.array([[1.0, 1.0]]), np.array([-3.0])
    values, least = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([-1.25, -1.2])
    held = held_at_bounds(features, targets, np.array([2.0, 0.1]), np.array([0.1]), values, least)
    free = linear_posterior(features, targets, np.array([2.0, 0.1]), np.array([0.1]))
    assert (values @ free.mean < least).all()
    assert held.tolist() == [False, True]


def test_no_bound_holds_where_none_is_missed():
    features, targets, prior_std, noise_std, values, least = problem(0)
    assert not held_at_bounds(features, targets, prior_std, noise_std, values, least - 100.0).any()
