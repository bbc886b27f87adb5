"""The constants of a latency loss: additive as the predictor is, and of one mind with it at the target."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from latency_model.correction import MOST_RELIEF
from latency_model.fit import fit_predictor
from latency_model.path_latencies import path_latencies


@pytest.fixture
def networks(make_networks):
    return make_networks(30)


def line_ms(predictor, ops, target_ms):
    """What the constants of a search for ``target_ms`` say of a network, half of its ops at positions."""
    middle = len(ops) // 2
    latencies = path_latencies(predictor, [[op] for op in ops[:middle]], ops[middle:], target_ms)
    return latencies.fixed_ms + sum(float(ms[0]) for ms in latencies.path_latency_ms)


def test_paths_and_fixed_ops_add_up_to_the_predicted_network(device, networks, make_space_ops):
    predictor = fit_predictor(device.measure([*make_space_ops(networks), *networks]))
    predicted_ms = predictor.predict_network(networks[0].ops).latency_ms
    assert line_ms(predictor, networks[0].ops, 1.0) == pytest.approx(predicted_ms)


@pytest.fixture
def thrifty(device, networks, make_space_ops):
    """A predictor whose negative constant is more than single ops take."""
    saves = dataclasses.replace(device, constant_ms=-0.008)
    return fit_predictor(saves.measure([*make_space_ops(networks), *networks]))


def test_networks_far_smaller_than_those_that_taught_the_constant_are_within_the_same_budgets(thrifty, networks):
    ops = networks[0].ops
    pieces = [ops[start:end] for start in range(len(ops)) for end in range(start + 2, len(ops) + 1)]
    predicted = [thrifty.predict_network(piece).latency_ms for piece in pieces]
    sums = np.array([thrifty.op_contribution_ms(piece).sum() for piece in pieces])
    assert (sums * MOST_RELIEF < -thrifty.constant_ms).any()
    assert (sums * MOST_RELIEF > -thrifty.constant_ms).any()
    for piece, own_ms in zip(pieces, predicted, strict=True):
        if own_ms > 0:
            assert line_ms(thrifty, piece, own_ms) == pytest.approx(own_ms)
            assert line_ms(thrifty, piece, 0.99 * own_ms) > 0.99 * own_ms
            assert line_ms(thrifty, piece, 1.01 * own_ms) < 1.01 * own_ms


def test_a_space_of_networks_of_almost_nothing_makes_a_loss(thrifty, networks, make_space_ops):
    torch = pytest.importorskip("torch")
    from latency_model.loss import LatencyLoss

    ops = [op.ops[0] for op in make_space_ops(networks)]
    smallest, dearer, *_ = sorted(
        (op for op in ops if thrifty.op_contribution_ms([op])[0] > 0),
        key=lambda op: thrifty.op_contribution_ms([op])[0],
    )
    assert thrifty.op_contribution_ms([smallest])[0] + thrifty.constant_ms < 0
    target_ms = thrifty.predict_network([dearer]).latency_ms
    latencies = path_latencies(thrifty, [[smallest, dearer]], [], target_ms)
    loss = LatencyLoss([torch.tensor(ms) for ms in latencies.path_latency_ms], latencies.fixed_ms, target_ms)
    assert loss.expected_ms([torch.tensor([0.0, 1.0])]) == pytest.approx(target_ms)
    assert 0 < loss.expected_ms([torch.tensor([1.0, 0.0])]) < target_ms


def test_a_space_with_one_network_of_almost_nothing_is_priced_at_its_target_as_predicted(
    thrifty, networks, make_space_ops
):
    ops = [op.ops[0] for op in make_space_ops(networks)]
    smallest, *_, largest = sorted(
        (op for op in ops if thrifty.op_contribution_ms([op])[0] > 0),
        key=lambda op: thrifty.op_contribution_ms([op])[0],
    )
    target_ms = thrifty.predict_network([largest]).latency_ms
    latencies = path_latencies(thrifty, [[smallest, largest]], [], target_ms)
    fastest_ms, at_target_ms = latencies.fixed_ms + latencies.path_latency_ms[0]
    assert thrifty.op_contribution_ms([smallest])[0] + thrifty.constant_ms < 0 < fastest_ms
    assert at_target_ms == pytest.approx(target_ms)


@pytest.mark.parametrize("target_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_is_no_latency_is_refused(device, networks, make_space_ops, target_ms):
    predictor = fit_predictor(device.measure([*make_space_ops(networks), *networks]))
    with pytest.raises(ValueError, match="milliseconds above 0"):
        path_latencies(predictor, [networks[0].ops], [], target_ms)
