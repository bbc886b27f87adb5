"""The constants of a latency loss: additive as the predictor is, and above nothing however small a network is."""

from __future__ import annotations

import dataclasses

import pytest

from latency_model.fit import fit_predictor
from latency_model.path_latencies import path_latencies


@pytest.fixture
def networks(make_networks):
    return make_networks(30)


def one_op(networks, make_space_ops, predictor):
    """Single ops of the networks that cost something, the cheapest first."""
    ops = [op.ops[0] for op in make_space_ops(networks)]
    paid = [op for op in ops if predictor.op_contribution_ms([op])[0] > 0]
    return sorted(paid, key=lambda op: predictor.op_contribution_ms([op])[0])


def test_paths_and_fixed_ops_add_up_to_the_predicted_network(device, networks, make_space_ops):
    predictor = fit_predictor(device.measure([*make_space_ops(networks), *networks]))
    first, second, *fixed = networks[0].ops
    latencies = path_latencies(predictor, [[first], [second]], fixed)
    total_ms = latencies.fixed_ms + sum(float(ms[0]) for ms in latencies.path_latency_ms)
    assert total_ms == pytest.approx(predictor.predict_network(networks[0].ops).latency_ms)


def test_a_space_far_smaller_than_the_networks_that_taught_a_negative_constant_makes_a_loss(
    device, networks, make_space_ops
):
    torch = pytest.importorskip("torch")
    from latency_model.loss import LatencyLoss

    thrifty = dataclasses.replace(device, constant_ms=-0.008)
    predictor = fit_predictor(thrifty.measure([*make_space_ops(networks), *networks]))
    smallest, dearer, *_ = one_op(networks, make_space_ops, predictor)
    smallest_ms, dearer_ms = predictor.op_contribution_ms([smallest, dearer])
    assert smallest_ms + predictor.constant_ms < 0
    latencies = path_latencies(predictor, [[smallest, dearer]], [])
    loss = LatencyLoss([torch.tensor(ms) for ms in latencies.path_latency_ms], latencies.fixed_ms, target_ms=1.0)
    fastest_ms = float(loss.expected_ms([torch.tensor([1.0, 0.0], dtype=torch.float64)]))
    assert fastest_ms == pytest.approx(0.25 * smallest_ms)
    assert latencies.path_latency_ms[0].tolist() == pytest.approx([smallest_ms, dearer_ms])
