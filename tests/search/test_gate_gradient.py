"""The specification of the gate gradients: what each estimator must equal, and in expectation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional

from search.estimators import full_gate_gradient, reinforce_gradient, two_path_gate_gradient
from search.gate_gradient import (
    leave_one_out_advantages,
    logit_gradient,
    reinforce_logit_gradient,
    rescaled_pair,
    two_path_probability,
)
from search.path_logits import PathLogits
from search.paths import PathSample, PositionPaths, fixed_paths
from search.supernet import SuperNet


@pytest.fixture
def supernet(space):
    return SuperNet(space, torch.Generator().manual_seed(1)).double()


@pytest.fixture
def logits(space):
    alphas = PathLogits(space.candidate_counts, torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        for alpha in alphas.positions:
            alpha.copy_(torch.randn(alpha.shape, generator=torch.Generator().manual_seed(3)).double())
    return alphas


def all_paths_output(supernet, images, gates):
    """The supernet with every candidate run and multiplied by its gate: the definition that needs all memory."""
    x = supernet.stem(images)
    for mixed_op, gate in zip(supernet.mixed_ops, gates):
        y = sum(g * candidate(x) for g, candidate in zip(gate, mixed_op.candidates))
        x = y + x if mixed_op.has_shortcut else y
    return supernet.head(x)


def one_hot_gates(space, choices):
    return [
        torch.nn.functional.one_hot(torch.tensor(choice), count).double().requires_grad_()
        for choice, count in zip(choices, space.candidate_counts)
    ]


def all_paths_gate_gradients(supernet, space, images, labels, choices):
    gates = one_hot_gates(space, choices)
    loss = functional.cross_entropy(all_paths_output(supernet, images, gates), labels)
    return torch.autograd.grad(loss, gates)


def recomputed_gate_gradients(supernet, space, images, labels, choices):
    positions = []
    for choice, count in zip(choices, space.candidate_counts):
        inactive = tuple(index for index in range(count) if index != choice)
        gates = torch.zeros(count, dtype=torch.double)
        gates[0] = 1.0
        positions.append(PositionPaths(choice, inactive, gates.requires_grad_()))
    loss = functional.cross_entropy(supernet(images, PathSample(tuple(positions))), labels)
    gradients = torch.autograd.grad(loss, [position.gates for position in positions])
    ordered = []
    for position, gradient in zip(positions, gradients):
        by_candidate = torch.empty_like(gradient)
        by_candidate[list(position.indices)] = gradient
        ordered.append(by_candidate)
    return ordered


def test_recomputing_inactive_paths_gives_the_gradient_of_the_all_paths_supernet(supernet, space, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    for choices in itertools.product(*(range(count) for count in space.candidate_counts)):
        expected = all_paths_gate_gradients(supernet, space, images, labels, choices)
        found = recomputed_gate_gradients(supernet, space, images, labels, choices)
        for left, right in zip(found, expected):
            assert torch.allclose(left, right, rtol=1e-6, atol=1e-12)


def test_a_gate_gradient_is_the_finite_difference_of_the_loss(supernet, space, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    choices, step = (1, 0), 1e-5
    found = recomputed_gate_gradients(supernet, space, images, labels, choices)
    for position, count in enumerate(space.candidate_counts):
        for candidate in range(count):
            losses = []
            for sign in (1, -1):
                gates = one_hot_gates(space, choices)
                with torch.no_grad():
                    gates[position][candidate] += sign * step
                    output = all_paths_output(supernet, images, gates)
                    losses.append(functional.cross_entropy(output, labels))
            difference = (losses[0] - losses[1]) / (2 * step)
            assert found[position][candidate] == pytest.approx(float(difference), rel=1e-5, abs=1e-8)


def test_the_gate_of_zero_has_no_gradient_and_the_gates_beside_it_have(supernet, space, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    zero = len(space.positions[1].candidates) - 1
    found = recomputed_gate_gradients(supernet, space, images, labels, (0, zero))
    assert found[1][zero] == 0
    assert (found[1][:zero] != 0).all()


def test_the_logit_gradient_is_the_chain_rule_through_the_softmax():
    alpha = torch.randn(5, dtype=torch.double, requires_grad=True)
    gate_gradient = torch.randn(5, dtype=torch.double)
    (alpha.softmax(0) * gate_gradient).sum().backward()
    assert torch.allclose(logit_gradient(alpha.detach().softmax(0), gate_gradient), alpha.grad)


def test_the_logit_gradient_sums_to_zero():
    gradient = logit_gradient(torch.randn(7).softmax(0), torch.randn(7))
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-6)


def require_mean(draws, expected):
    """The mean of independent draws is what is expected, to 4 standard errors."""
    for position, exact in enumerate(expected):
        samples = torch.stack([draw[position] for draw in draws])
        standard_error = samples.std(0) / len(draws) ** 0.5
        assert ((samples.mean(0) - exact).abs() <= 4 * standard_error + 1e-12).all()


def test_full_gates_equal_the_enumeration_of_all_paths_in_expectation(supernet, space, logits, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    probabilities = [p.detach() for p in logits.probabilities()]
    expected = [torch.zeros_like(p) for p in probabilities]
    for choices in itertools.product(*(range(count) for count in space.candidate_counts)):
        weight = torch.stack([p[c] for p, c in zip(probabilities, choices)]).prod()
        gate_gradients = all_paths_gate_gradients(supernet, space, images, labels, choices)
        for total, p, gradient in zip(expected, probabilities, gate_gradients):
            total.add_(weight * logit_gradient(p, gradient))
    generator = torch.Generator().manual_seed(0)
    draws = [full_gate_gradient(supernet, logits, images, labels, generator).gradients for _ in range(600)]
    require_mean(draws, expected)


def test_two_paths_equal_the_enumeration_of_all_pairs_in_expectation(supernet, space, logits, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    probabilities = [p.detach() for p in logits.probabilities()]
    drawn_by_position = [
        # (probability of the pair in either order and of its first one as the active path, that path, the other)
        [
            (float(p[a] * p[b] * (1 / (1 - p[a]) + 1 / (1 - p[b])) * p[a] / (p[a] + p[b])), a, b)
            for a, b in itertools.permutations(range(p.numel()), 2)
        ]
        for p in probabilities
    ]
    expected = [torch.zeros_like(p) for p in probabilities]
    total = 0.0
    for drawn in itertools.product(*drawn_by_position):
        weight = math.prod(probability for probability, _, _ in drawn)
        total += weight
        gates = all_paths_gate_gradients(supernet, space, images, labels, [active for _, active, _ in drawn])
        for gradient, alpha, gate, (_, *pair) in zip(expected, logits.positions, gates, drawn):
            gradient[pair] += weight * logit_gradient(alpha.detach()[pair].softmax(0), gate[pair])
    assert total == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    draws = [two_path_gate_gradient(supernet, logits, images, labels, generator).gradients for _ in range(600)]
    require_mean(draws, expected)


def test_reinforce_equals_the_enumeration_of_all_networks_in_expectation(supernet, space, logits, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]

    def reward(sample, outputs):
        return float(-functional.cross_entropy(outputs, labels)) + 0.1 * sum(sample.choices)

    total = 0.0
    for choices in itertools.product(*(range(count) for count in space.candidate_counts)):
        weight = torch.stack([p[c] for p, c in zip(logits.probabilities(), choices)]).prod()
        with torch.no_grad():
            worth = reward(fixed_paths(choices), supernet(images, fixed_paths(choices)))
        total = total + weight * worth
    expected = torch.autograd.grad(-total, list(logits.positions))
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    steps = [reinforce_gradient(supernet, logits, reward, images, generators) for _ in range(600)]
    require_mean([step.gradients for step in steps], expected)
    assert sum(step.loss for step in steps) / len(steps) == pytest.approx(float(-total.detach()), abs=0.02)


def test_two_paths_give_a_gradient_to_the_two_sampled_logits_alone(supernet, logits, images_and_labels):
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    task = two_path_gate_gradient(supernet, logits, images, labels, torch.Generator().manual_seed(4))
    for gradient, pair in zip(task.gradients, task.updated):
        others = [index for index in range(gradient.numel()) if index not in pair.tolist()]
        assert pair.numel() == 2
        assert (gradient[others] == 0).all()
        assert float(gradient.sum()) == pytest.approx(0, abs=1e-12)


def test_two_path_probabilities_are_the_full_ones_renormalised():
    alpha, pair = torch.randn(6, dtype=torch.double), torch.tensor([4, 1])
    full = alpha.softmax(0)[pair]
    assert torch.allclose(two_path_probability(alpha, pair), full / full.sum())


def test_the_rescaled_pair_leaves_all_other_probabilities_as_they_were():
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        alpha = 3 * torch.randn(7, generator=generator, dtype=torch.double)
        pair = torch.randperm(7, generator=generator)[:2]
        updated = alpha.clone()
        updated[pair] += torch.randn(2, generator=generator)
        updated[pair] = rescaled_pair(alpha[pair], updated[pair])
        others = [index for index in range(7) if index not in pair.tolist()]
        assert torch.allclose(updated.softmax(0)[others], alpha.softmax(0)[others], atol=1e-7, rtol=0)


def test_reinforce_is_the_gradient_of_the_log_probability_times_the_advantage():
    alpha = torch.randn(4, dtype=torch.double, requires_grad=True)
    (-0.7 * torch.log_softmax(alpha, 0)[2]).backward()
    found = reinforce_logit_gradient(alpha.detach().softmax(0), 2, 0.7)
    assert torch.allclose(found, alpha.grad)


def test_leave_one_out_advantages_sum_to_zero_and_compare_with_the_others():
    advantages = leave_one_out_advantages([1.0, 2.0, 6.0])
    assert advantages == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5])
    assert sum(advantages) == pytest.approx(0)


def test_a_single_reward_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match="at least 2"):
        leave_one_out_advantages([1.0])


def test_a_weight_step_runs_exactly_one_candidate_per_position(supernet, space, images_and_labels):
    calls = []
    for position, mixed_op in enumerate(supernet.mixed_ops):
        for index, candidate in enumerate(mixed_op.candidates):
            candidate.register_forward_hook(lambda *_, where=(position, index): calls.append(where))
    loss = functional.cross_entropy(supernet(images_and_labels[0].double(), fixed_paths((1, 0))), images_and_labels[1])
    loss.backward()
    assert calls == [(0, 1), (1, 0)]


def test_an_architecture_step_leaves_no_gradient_and_no_statistics_in_the_supernet(supernet, logits, images_and_labels):
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    images, labels = images_and_labels[0].double(), images_and_labels[1]
    full_gate_gradient(supernet, logits, images, labels, torch.Generator().manual_seed(0))
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
