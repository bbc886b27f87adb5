"""Similar networks correct each other's losses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from search.smoothing import MISJUDGED_SHARE, smoothed_losses

NETWORKS = list(itertools.product(range(3), repeat=4))


def test_one_network_keeps_its_loss():
    assert smoothed_losses([(0, 1, 2)], [1.5]).tolist() == [1.5]


def test_equal_losses_stay():
    assert smoothed_losses(NETWORKS, [2.0] * len(NETWORKS)) == pytest.approx([2.0] * len(NETWORKS))


def test_two_networks_have_the_posterior_that_is_worked_out_by_hand():
    # one of two positions differs: covariance exp(-1/2); by symmetry both move towards their mean by one factor
    factor = (1 - np.exp(-0.5)) / (1 - np.exp(-0.5) + MISJUDGED_SHARE)
    assert smoothed_losses([(0, 0), (0, 1)], [1.0, 3.0]) == pytest.approx([2 - factor, 2 + factor])


def test_scale_and_shift_of_the_losses_pass_through():
    losses = np.random.default_rng(0).normal(size=len(NETWORKS))
    assert smoothed_losses(NETWORKS, 3 * losses + 7) == pytest.approx(3 * smoothed_losses(NETWORKS, losses) + 7)


def test_the_order_of_the_networks_does_not_matter():
    losses = np.random.default_rng(1).normal(size=len(NETWORKS))
    turned = smoothed_losses(NETWORKS[::-1], losses[::-1])
    assert turned[::-1] == pytest.approx(smoothed_losses(NETWORKS, losses))


def test_misjudged_networks_are_nearer_to_the_truth_afterwards():
    rng = np.random.default_rng(2)
    worth = rng.normal(size=(4, 3))
    truth = np.array([sum(worth[position, choice] for position, choice in enumerate(one)) for one in NETWORKS])
    losses = truth + 0.4 * truth.std() * rng.normal(size=len(truth))
    smoothed = smoothed_losses(NETWORKS, losses)
    assert np.abs(smoothed - truth).mean() < 0.7 * np.abs(losses - truth).mean()


def test_a_network_that_alone_among_its_like_looks_good_is_not_ranked_first():
    losses = [float(sum(one)) for one in NETWORKS]
    losses[NETWORKS.index((2, 2, 2, 2))] = -0.5
    assert NETWORKS[int(smoothed_losses(NETWORKS, losses).argmin())] == (0, 0, 0, 0)
