"""The last weights and the logits both have a say in what is derived."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from search.ranking import LOGIT_VOICE, ranked_losses
from search.smoothing import smoothed_losses

NETWORKS = list(itertools.product(range(3), repeat=4))
RNG = np.random.default_rng(0)
LOSSES = RNG.normal(size=len(NETWORKS))
LOG_PROBABILITIES = RNG.normal(size=len(NETWORKS))


def test_logits_that_prefer_nothing_leave_the_smoothed_losses():
    ranked = ranked_losses(NETWORKS, LOSSES, [-7.1] * len(NETWORKS))
    assert ranked.tolist() == smoothed_losses(NETWORKS, LOSSES).tolist()


def test_one_network_keeps_its_loss():
    assert ranked_losses([(0, 1, 2)], [1.5], [-3.0]).tolist() == [1.5]


def test_of_two_networks_that_lose_as_much_the_more_probable_one_is_first():
    ranked = ranked_losses([(0, 0), (0, 1), (1, 1)], [1.0, 1.0, 3.0], [-3.0, -1.0, -2.0])
    unsaid = ranked_losses([(0, 0), (0, 1), (1, 1)], [1.0, 1.0, 3.0], [-2.0, -2.0, -2.0])
    assert ranked[1] - ranked[0] < unsaid[1] - unsaid[0]


def test_one_deviation_of_log_probability_is_worth_a_fixed_share_of_a_deviation_of_the_losses():
    ranked = ranked_losses([(0, 0), (0, 1)], [1.0, 3.0], [-4.0, -2.0])
    smoothed = smoothed_losses([(0, 0), (0, 1)], [1.0, 3.0])
    assert ranked == pytest.approx([smoothed[0] + LOGIT_VOICE, smoothed[1] - LOGIT_VOICE])


def test_scale_and_shift_of_the_losses_pass_through_and_those_of_log_probabilities_do_not_count():
    ranked = ranked_losses(NETWORKS, LOSSES, LOG_PROBABILITIES)
    other = ranked_losses(NETWORKS, 3 * LOSSES + 7, 5 * LOG_PROBABILITIES - 100)
    assert other == pytest.approx(3 * ranked + 7)


def test_the_logits_leave_the_mean_so_that_derivations_of_several_widths_compare():
    ranked = ranked_losses(NETWORKS, LOSSES, LOG_PROBABILITIES)
    assert ranked.mean() == pytest.approx(smoothed_losses(NETWORKS, LOSSES).mean())


def test_two_judges_that_err_apart_rank_better_than_one():
    worth = np.random.default_rng(1).normal(size=(4, 3))
    truth = np.array([sum(worth[position, choice] for position, choice in enumerate(one)) for one in NETWORKS])
    losses, log_probabilities = (sign * truth + truth.std() * RNG.normal(size=len(truth)) for sign in (1, -1))
    alone, both = (
        np.corrcoef(truth, ranked)[0, 1]
        for ranked in (smoothed_losses(NETWORKS, losses), ranked_losses(NETWORKS, losses, log_probabilities))
    )
    assert both > alone
