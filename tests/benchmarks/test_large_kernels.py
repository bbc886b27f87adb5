"""Kernels are chosen by what a device asks for them, at one relative budget."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.large_kernels import (
    KernelPrices,
    choice_claims,
    kernel_blocks,
    last_of_stages,
    network_with,
    price_claims,
    published_counts,
)
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
    assert (claim.value, claim.aim, claim.holds) == (0, ">= 4", False)


def test_without_the_overhead_bound_device_there_is_no_comparison():
    (claim,) = choice_claims({"onnxruntime": prices(0.01)})
    assert claim.value is None


def test_prices_that_do_not_differ_between_devices_fall_short():
    assert not any(claim.holds for claim in price_claims({"onnxruntime": prices(0.5), "litert": prices(0.51)}))
    assert all(claim.holds for claim in price_claims({"onnxruntime": prices(0.5), "torch": prices(0.1)}))


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
