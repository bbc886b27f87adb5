"""Kernels are chosen by what a device asks for them, at one relative budget."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.large_kernels import (
    KernelPrices,
    choice_claims,
    kernel_blocks,
    last_of_stages,
    network_claims,
    network_with,
    price_claims,
    prices_of,
    published_counts,
)
from latency_model.errors import MeasurementError
from latency_model.measurement import paid_ops
from latency_model.op_timings import pooled_timings
from search.spaces.imagenet import imagenet_space


def prices(step_ms: float, positions: int = 4) -> KernelPrices:
    block_ms = tuple(np.array([1.0, 1.0 + step_ms, 1.0 + 2 * step_ms]) for _ in range(positions))
    return KernelPrices(block_ms=block_ms, fixed_ms=1.0, side_px=(56, 56, 14, 7)[:positions], macs_ratio=1.3)


def test_a_device_that_charges_little_for_large_kernels_takes_them_everywhere():
    assert prices(0.01).chosen_kernels(1.15) == (7, 7, 7, 7)


def test_a_device_that_charges_much_takes_none():
    assert prices(3.0).chosen_kernels(1.15) == (3, 3, 3, 3)


def test_the_budget_is_a_share_of_the_devices_own_small_network():
    own = prices(0.2)
    assert own.small_ms == pytest.approx(5.0)
    assert sum((kernel - 3) // 2 for kernel in own.chosen_kernels(1.161)) == 4  # 0.8 ms buys four steps of 0.2 ms


def test_the_price_is_told_by_the_side_of_the_feature_map():
    own = prices(0.5)
    own.block_ms[3][-1] = 5.0
    assert own.ratio_by_side() == {56: pytest.approx(2.0), 14: pytest.approx(2.0), 7: pytest.approx(5.0)}
    assert own.price_ratio() == pytest.approx(11 / 4)


def test_an_overhead_bound_device_with_fewer_large_kernels_falls_short():
    *_, claim = choice_claims({"onnxruntime": prices(0.01), "torch": prices(3.0)})
    assert (claim.value, claim.aim, claim.holds) == (0, ">= 5", False)


def test_an_overhead_bound_device_with_as_many_large_kernels_as_the_others_falls_short():
    same, also, claim = choice_claims({"onnxruntime": prices(3.0), "torch": prices(3.0)})
    assert not same.holds and not also.holds and not claim.holds


def test_without_the_overhead_bound_device_there_is_no_comparison():
    (claim,) = choice_claims({"onnxruntime": prices(0.01)})
    assert claim.value is None


def test_prices_that_do_not_differ_between_devices_fall_short():
    assert not any(claim.holds for claim in price_claims({"onnxruntime": prices(0.5), "litert": prices(0.51)}))
    assert all(claim.holds for claim in price_claims({"onnxruntime": prices(0.5), "torch": prices(0.1)}))
    both, also, other = price_claims({"onnxruntime": prices(0.5), "litert": prices(0.51), "torch": prices(0.1)})
    assert (both.holds, also.holds, other.holds) == (False, False, True)


def test_the_blocks_of_a_position_differ_in_the_kernel_alone():
    space = imagenet_space()
    for position in space.positions:
        blocks = kernel_blocks(position)
        assert [block.kernel_size for block in blocks] == [3, 5, 7]
        assert len({(block.in_height, block.expand_channels, block.out_channels) for block in blocks}) == 1
    assert [position.name for position in last_of_stages(space, (1, 6))] == ["stage1.block4", "stage6.block1"]


def test_a_choice_of_kernels_is_a_network_of_the_space():
    space = imagenet_space()
    network = network_with(space, (7,) * 20 + (3,), "seven")
    assert [op.kernel_size for op in network.ops[2:23]] == [7] * 20 + [3]


def test_the_published_counts_are_read_off_the_published_networks():
    assert published_counts() == ("proxyless-gpu has 6 of 13, proxyless-cpu has 0 of 19, proxyless-mobile has 7 of 19")


def timed(ops, latency_ms: float = 1.0) -> SimpleNamespace:
    timings = pooled_timings((op, latency_ms, 0.01) for op in ops)
    return SimpleNamespace(op_timings=lambda: timings)


def test_a_block_without_a_usable_timing_is_an_error_not_a_price():
    space = imagenet_space()
    positions, fixed = last_of_stages(space, (1, 6)), [op for _, op in space.fixed_layers]
    blocks = [block for position in positions for block in kernel_blocks(position)]
    assert prices_of(timed([*fixed, *blocks]), positions, fixed).small_ms == pytest.approx(len(fixed) + 2)
    with pytest.raises(MeasurementError, match="1 blocks have no usable timing"):
        prices_of(timed([*fixed, *blocks[1:]]), positions, fixed)


def test_the_chosen_networks_are_measured_on_every_device_against_its_network_of_3x3(monkeypatch):
    def measure(runtime, networks, *, quick):
        latency_ms = [10.0, 11.0, 12.0]  # of 3x3, of the first runtime's choice, of the second's
        found = [SimpleNamespace(paid_ops=paid_ops(n), latency_ms=ms) for n, ms in zip(networks, latency_ms)]
        return SimpleNamespace(usable=lambda: found)

    monkeypatch.setattr("benchmarks.large_kernels.measure_here", measure)
    own = {"onnxruntime": wide_prices(0.5), "torch": wide_prices(0.01)}
    first, of_others, second, beaten = network_claims(imagenet_space(), own)
    assert (first.value, first.holds, first.note) == (
        pytest.approx(1.1),
        True,
        "3x3 10.00 ms; kernels chosen for torch 1.20",
    )
    assert (second.value, second.holds) == (pytest.approx(1.2), False)
    assert (of_others.value, beaten.value) == (0, 0), "torch's are over the budget, onnxruntime's are smaller"


def test_another_devices_choice_that_is_worth_as_much_within_the_budget_is_counted(monkeypatch):
    def measure(runtime, networks, *, quick):
        found = [SimpleNamespace(paid_ops=paid_ops(n), latency_ms=10.0) for n in networks]
        return SimpleNamespace(usable=lambda: found)

    monkeypatch.setattr("benchmarks.large_kernels.measure_here", measure)
    _, beaten, _, best = network_claims(imagenet_space(), {"onnxruntime": wide_prices(0.5), "torch": wide_prices(0.01)})
    assert (beaten.value, beaten.holds, best.value, best.holds) == (1, False, 0, True)


def wide_prices(step_ms: float) -> KernelPrices:
    block_ms = tuple(np.array([1.0, 1.0 + step_ms, 1.0 + 2 * step_ms]) for _ in range(21))
    return KernelPrices(block_ms=block_ms, fixed_ms=1.0, side_px=(14,) * 21, macs_ratio=1.3)
