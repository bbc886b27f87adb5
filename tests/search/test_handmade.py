"""Hand-made baselines: one block throughout, as near below the budget as widths allow, however far off that is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from latency_model.kernels import macs
from latency_model.measurement import paid_ops
from latency_model.ops import MBConvSpec
from search.errors import TargetError
from search.networks import mobilenetv2_like, scaled_network
from search.ship.baseline import _kinds
from search.spaces.small import small_space
from search.steps.handmade import Kind, by_usual_widths, kinds_of, nearest_handmade
from search.zoo import build_network

SPACE = small_space((1, 28, 28), 10)
REFERENCE = mobilenetv2_like(SPACE)


def cost(network) -> float:
    """Milliseconds of a made-up device: a million multiply-accumulates in one."""
    return sum(map(macs, network.ops)) / 1e6


class Stopwatch:
    def __init__(self):
        self.timed = []

    def __call__(self, networks):
        self.timed += networks
        return {paid_ops(network): cost(network) for network in networks}


def nearest(target_ms):
    stopwatch = Stopwatch()
    network, measured_ms = nearest_handmade(REFERENCE, "handmade", target_ms, stopwatch)
    assert measured_ms == cost(network) and network.name == "handmade"
    return network, stopwatch


def test_the_handmade_network_comes_nearer_to_the_budget_than_widths_alone():
    by_width = by_usual_widths(REFERENCE, "handmade")
    target_ms = 0.1 * cost(by_width[10]) + 0.9 * cost(by_width[11])
    network, _ = nearest(target_ms)
    assert max(cost(one) for one in by_width if cost(one) <= target_ms) < cost(network) <= target_ms


@pytest.mark.parametrize("budget", [1.2, 1.7, 3.0])
def test_a_budget_above_the_reference_is_used_by_a_wider_network(budget):
    target_ms = budget * cost(REFERENCE)
    network, _ = nearest(target_ms)
    assert 0.93 * target_ms <= cost(network) <= target_ms


def test_a_budget_below_the_usual_widths_is_met_by_a_narrower_network():
    target_ms = 0.8 * min(cost(network) for network in by_usual_widths(REFERENCE, "handmade"))
    network, _ = nearest(target_ms)
    assert cost(network) <= target_ms


def test_a_budget_that_no_width_meets_leaves_the_fastest_of_all():
    network, stopwatch = nearest(1e-6)
    assert cost(network) == min(map(cost, stopwatch.timed)) == cost(scaled_network(REFERENCE, 0.1, "handmade"))


def test_no_further_widths_are_timed_for_a_budget_among_the_usual_ones():
    _, stopwatch = nearest(0.6 * cost(REFERENCE))
    assert max(map(cost, stopwatch.timed)) == cost(REFERENCE)


def test_other_blocks_are_those_that_the_space_offers_small_kernels_first():
    assert [str(kind) for kind in kinds_of(SPACE, REFERENCE)] == ["k3-e3", "k5-e6", "k5-e3", "k7-e6", "k7-e3"]


def test_a_block_stands_wherever_the_reference_has_one_that_expands():
    reference = build_network("mobilenetv2", (3, 64, 64), 10)
    network = Kind(kernel_size=5, expansion=3).of(reference)
    for (_, before), (_, op) in zip(reference.layers, network.layers, strict=True):
        if isinstance(before, MBConvSpec) and before.expansion > 1:
            assert (op.kernel_size, op.expansion, op.output_shape) == (5, 3, before.output_shape)
        else:
            assert op == before


def test_more_blocks_than_the_space_offers_are_refused_with_those_there_are(space):
    run = SimpleNamespace(space=space)
    assert [str(kind) for kind in _kinds(run, 1)] == ["k5-e2"]
    with pytest.raises(TargetError, match=r"offers k5-e2; 2 were asked for\. Give --handmade 1 at most"):
        _kinds(run, 2)
