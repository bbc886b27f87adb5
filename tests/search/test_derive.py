"""What is derived lies on the budget, and is the same each time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from search.budget import best_under_budget, latency_range_ms
from search.derive import Judging, derive
from search.errors import TargetError
from search.ranking import ranked_losses
from search.settings import SearchSettings
from search.spaces.small import small_space
from search.trainer import SearchFiles, SearchTrainer
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(
    warmup_steps=2,
    search_steps=4,
    weight_steps_per_architecture_step=2,
    batch_size=32,
    architecture_batch_size=32,
    held_out_fraction=0.25,
    derive_candidates=4,
    derive_images=60,
)


def small_problem():
    space = small_space((1, 16, 16), 10)
    device = target_from_macs(space, 1.0)
    fastest_ms, slowest_ms = latency_range_ms(device.path_latency_ms, device.fixed_ms)
    return device, fastest_ms, slowest_ms


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_floor_the_best_network_lies_within_one_per_cent_under_the_budget(share, seed):
    device, fastest_ms, slowest_ms = small_problem()
    budget_ms = fastest_ms + share * (slowest_ms - fastest_ms)
    rng = np.random.default_rng(seed)
    # Scores that prefer fast networks: without the floor the budget would be left unused.
    scores = [rng.normal(size=len(ms)) - 5 * ms / ms.max() for ms in device.path_latency_ms]
    found = best_under_budget(scores, device.path_latency_ms, device.fixed_ms, budget_ms, 0.99 * budget_ms)
    assert 0.99 * budget_ms <= device.network_ms(found) <= budget_ms


def test_where_no_network_lies_between_floor_and_budget_the_floor_is_dropped():
    latency_ms = [np.array([0.1, 1.0]), np.array([0.1, 1.0])]
    scores = [np.array([0.0, 1.0]), np.array([0.0, 0.5])]
    assert best_under_budget(scores, latency_ms, 0.0, 1.5, 1.4) == (1, 0)


def make(space, data, folder, target_ms):
    trainer = SearchTrainer(space, data, [target_from_macs(space, target_ms)], SETTINGS, SearchFiles(folder=folder))
    trainer.run()
    return trainer


def test_deriving_twice_gives_the_same_network(space, data, tmp_path):
    trainer = make(space, data, tmp_path, 0.06)
    first, second = (derive(trainer.supernet, trainer.states[0], data, SETTINGS) for _ in range(2))
    assert first.best == second.best
    assert first.judged == second.judged


def test_the_derived_network_is_the_best_ranked_of_those_judged_and_fits(space, data, tmp_path):
    trainer = make(space, data, tmp_path, 0.06)
    derivation = derive(trainer.supernet, trainer.states[0], data, SETTINGS)
    losses = [one.held_out_loss for one in derivation.judged]
    log_probabilities = [p.log().detach().numpy() for p in trainer.states[0].logits.probabilities()]
    ranked = ranked_losses(
        [one.choices for one in derivation.judged],
        losses,
        [
            sum(values[choice] for values, choice in zip(log_probabilities, one.choices, strict=True))
            for one in derivation.judged
        ],
    )
    assert [one.ranked_loss for one in derivation.judged] == pytest.approx(sorted(ranked))
    assert derivation.best == derivation.judged[0]
    assert all(one.predicted_ms <= 0.06 for one in derivation.judged)


def test_ranked_by_their_own_losses_the_lowest_loss_is_derived(space, data, tmp_path):
    trainer = make(space, data, tmp_path, 0.06)
    derivation = derive(
        trainer.supernet, trainer.states[0], data, SETTINGS, Judging(ranked_losses=lambda _, losses, __: losses)
    )
    assert derivation.best.held_out_loss == min(one.held_out_loss for one in derivation.judged)


def test_margin_and_entropy_are_reported_for_each_position(space, data, tmp_path):
    trainer = make(space, data, tmp_path, 0.06)
    derivation = derive(trainer.supernet, trainer.states[0], data, SETTINGS)
    assert len(derivation.margin) == len(derivation.entropy) == len(space.positions)
    assert all(0 <= margin <= 1 for margin in derivation.margin)
    assert all(entropy >= 0 for entropy in derivation.entropy)


def test_a_target_below_the_fastest_network_is_refused(space, data, tmp_path):
    trainer = make(space, data, tmp_path, 0.06)
    state = trainer.states[0]
    state.target = dataclasses.replace(state.target, target_ms=0.001)
    with pytest.raises(TargetError, match="fastest network"):
        derive(trainer.supernet, state, data, SETTINGS)
