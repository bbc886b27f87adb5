"""How latency pulls on the logits: towards the target, free of the loss's scale, or with the paper's fixed weight."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from search.architecture_step import TargetState, take_architecture_step
from search.estimators import full_gate_gradient
from search.settings import SearchSettings
from search.supernet import SuperNet, frozen_weights
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(warmup_steps=0, search_steps=400, weight_steps_per_architecture_step=4)


def make_state(space, target_ms=0.06, **changes):
    return TargetState(space, target_from_macs(space, target_ms), dataclasses.replace(SETTINGS, **changes))


def test_rates_follow_from_the_number_of_architecture_steps():
    short, long = (dataclasses.replace(SETTINGS, search_steps=steps) for steps in (800, 8000))
    assert short.logit_rate(1) == pytest.approx(10 * long.logit_rate(1))
    assert short.ascent_rate(1) == pytest.approx(10 * long.ascent_rate(1))
    assert short.logit_rate(2) == pytest.approx(2 * short.logit_rate(1))


def test_a_network_above_the_target_is_pulled_down_at_once_and_one_below_it_up(space):
    state = make_state(space)
    state.compare_gradients([torch.tensor([2.0])], [torch.tensor([0.5])])
    assert state.strength(1.1 * 0.06) > 0 > state.strength(0.9 * 0.06)
    assert state.strength(0.06) == pytest.approx(0)


def test_the_ascent_grows_with_the_scale_of_the_task(space):
    states = [make_state(space), make_state(space)]
    for state, scale in zip(states, (1.0, 100.0)):
        state.compare_gradients([torch.tensor([scale])], [torch.tensor([1.0])])
        state.ascend(0.07)
    small, large = (float(state.latency_loss.multiplier) for state in states)
    assert large == pytest.approx(100 * small, rel=1e-5) and small > 0


def test_the_papers_plain_loss_has_a_fixed_weight_per_millisecond(space):
    state = make_state(space, latency_weight_per_ms=3.0)
    state.compare_gradients([torch.tensor([1.0])], [torch.tensor([1.0])])
    state.ascend(0.2)
    assert float(state.latency_loss.multiplier) == 0
    # weight * E[latency] = (weight * target) * (E[latency] / target)
    assert state.strength(0.2) == pytest.approx(3.0 * 0.06)


def test_weights_are_frozen_only_within_an_architecture_step(space, images_and_labels):
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    with frozen_weights(supernet):
        assert not any(weight.requires_grad for weight in supernet.parameters())
    assert all(weight.requires_grad for weight in supernet.parameters())


def test_frozen_weights_change_no_gate_gradient(space, images_and_labels):
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    state = make_state(space)
    draws = []
    for _ in range(2):
        task = full_gate_gradient(supernet, state.logits, *images_and_labels, torch.Generator().manual_seed(1))
        draws.append(task.gradients)
        supernet.requires_grad_(False)
    assert all(torch.equal(left, right) for left, right in zip(*draws))


def test_a_step_moves_the_logits_and_not_the_weights(space, images_and_labels):
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    state = make_state(space)
    weights = [weight.detach().clone() for weight in supernet.parameters()]
    logits = [alpha.detach().clone() for alpha in state.logits.positions]
    take_architecture_step(supernet, state, images_and_labels, SETTINGS, step=0)
    assert all(torch.equal(old, new) for old, new in zip(weights, supernet.parameters()))
    assert any(not torch.equal(old, new) for old, new in zip(logits, state.logits.positions))
