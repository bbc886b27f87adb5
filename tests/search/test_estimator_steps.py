"""A whole architecture step with two paths and with REINFORCE: what moves, what stays, and how latency acts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from search.architecture_step import TargetState, latency_aware_reward, take_architecture_step
from search.data.batches import seeded_generator
from search.errors import RunFolderError
from search.estimators import TaskGradient
from search.gate_gradient import leave_one_out_advantages
from search.paths import fixed_paths, sample_paths
from search.settings import SearchSettings
from search.spaces.small import small_space
from search.supernet import SuperNet
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(warmup_steps=0, search_steps=400, weight_steps_per_architecture_step=4)
TWO_PATH = dataclasses.replace(SETTINGS, estimator="two-path")


def fixed_pairs(monkeypatch, pairs):
    """From now on every step draws these two paths per position, and the task does not care which."""

    def draw(supernet, logits, images, labels, generator, width=0):
        nothing = tuple(torch.zeros_like(alpha) for alpha in logits.positions)
        return TaskGradient(0.0, nothing, tuple(torch.tensor(pair) for pair in pairs))

    monkeypatch.setattr("search.architecture_step.two_path_gate_gradient", draw)


def test_a_two_path_step_leaves_the_probabilities_of_all_other_paths_as_they_were():
    space = small_space((1, 16, 16), 10)
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    state = TargetState(space, target_from_macs(space, 0.8), TWO_PATH)
    batch = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(8)
    for step in range(4):
        before = [p.detach().clone() for p in state.logits.probabilities()]
        take_architecture_step(supernet, state, batch, TWO_PATH, step)
        for old, new in zip(before, (p.detach() for p in state.logits.probabilities())):
            differences = (old - new).abs().sort().values
            assert (differences[:-2] <= 1e-7).all() and (differences[-2:] > 1e-4).all()


def test_latency_acts_between_two_paths_that_are_both_slower_than_the_mean(space, images_and_labels, monkeypatch):
    state = TargetState(space, target_from_macs(space, 0.06), dataclasses.replace(TWO_PATH, latency_weight_per_ms=1.0))
    slow_pairs = [(0, 1), (0, 1)]  # of the second position the third path is a skip, at no cost
    latency_ms = state.target.path_latency_ms[1]
    assert latency_ms[:2].min() > latency_ms.mean() and latency_ms[0] < latency_ms[1]
    fixed_pairs(monkeypatch, slow_pairs)
    before = state.logits.probabilities()[1].detach()
    for step in range(20):
        take_architecture_step(SuperNet(space, torch.Generator()), state, images_and_labels, TWO_PATH, step)
    after = state.logits.probabilities()[1].detach()
    assert after[0] > 2 * after[1]
    assert float(after[:2].sum()) == pytest.approx(float(before[:2].sum()), abs=1e-7)


def test_the_latency_gradient_of_a_pair_is_that_of_its_own_softmax(space, images_and_labels, monkeypatch):
    state = TargetState(space, target_from_macs(space, 0.06), dataclasses.replace(TWO_PATH, latency_weight_per_ms=1.0))
    pairs = [(1, 0), (2, 1)]
    fixed_pairs(monkeypatch, pairs)
    alphas = [alpha.detach().clone().requires_grad_() for alpha in state.logits.positions]
    expected_ms = sum(
        (alpha[list(pair)].softmax(0) * torch.tensor(ms[list(pair)])).sum()
        for alpha, pair, ms in zip(alphas, pairs, state.target.path_latency_ms)
    )
    expected = torch.autograd.grad(expected_ms, alphas)  # at a weight of 1 per millisecond
    take_architecture_step(SuperNet(space, torch.Generator()), state, images_and_labels, TWO_PATH, 0)
    for alpha, gradient in zip(state.logits.positions, expected):
        assert torch.allclose(alpha.grad, gradient, rtol=1e-5, atol=1e-12)


def test_the_reward_is_the_accuracy_times_the_tenth_root_of_target_over_latency(space):
    target = target_from_macs(space, 0.06)
    outputs = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 0])
    for choices in ((0, 0), (1, 2)):
        expected = 0.75 * (0.06 / target.network_ms(choices)) ** 0.1
        assert latency_aware_reward(outputs, labels, target, choices) == pytest.approx(expected)


def test_a_reinforce_step_descends_on_the_drawn_networks_rewards(space, images_and_labels):
    settings = dataclasses.replace(SETTINGS, estimator="reinforce", reinforce_samples=3, latency_weight_per_ms=0.0)
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    state = TargetState(space, target_from_macs(space, 0.06), settings)
    (images, labels), step = images_and_labels, 5
    drawn, rewards, losses = [], [], []
    for sample in range(3):
        generator = seeded_generator(settings.seed, "architecture paths", state.target.name, step, sample)
        drawn.append(sample_paths(state.logits.probabilities(), generator).choices)
        with torch.no_grad():
            outputs = supernet(images, fixed_paths(drawn[-1]))
        rewards.append(latency_aware_reward(outputs, labels, state.target, drawn[-1]))
        losses.append(float(functional.cross_entropy(outputs, labels)))
    assert len(set(rewards)) > 1
    loss = 0.0
    for choices, advantage in zip(drawn, leave_one_out_advantages(rewards)):
        for alpha, choice in zip(state.logits.positions, choices):
            loss = loss - advantage * alpha.log_softmax(0)[choice] / 3
    expected = torch.autograd.grad(loss, list(state.logits.positions))
    taken = take_architecture_step(supernet, state, images_and_labels, settings, step)
    assert taken.held_out_loss == pytest.approx(sum(losses) / 3), "a loss is logged, and not the reward"
    for alpha, gradient in zip(state.logits.positions, expected):
        assert torch.allclose(alpha.grad, gradient, atol=1e-12)


def test_a_single_reinforce_sample_is_refused_before_the_search():
    with pytest.raises(RunFolderError, match="reinforce_samples=1; it must be 2 or more"):
        dataclasses.replace(SETTINGS, estimator="reinforce", reinforce_samples=1)
