"""Ops as numbers: the array form agrees with the op-by-op form."""

import time
from typing import get_args

import numpy as np
import pytest

from latency_model.features import edge_values, is_free, op_columns, op_costs
from latency_model.kernels import bytes_moved, kernels_of, macs
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)
from latency_model.regressor_features import op_features

MAP = {"in_channels": 16, "in_height": 9, "in_width": 7}
EVERY_KIND = [
    ConvSpec(**MAP, out_channels=24, kernel_size=3, stride=2, groups=8, dilation=2, activation="relu"),
    ConvSpec(**MAP, out_channels=24, kernel_size=1, dtype="int8"),
    DepthwiseConvSpec(**MAP, kernel_size=5, stride=2, dtype="fp16", activation="hswish"),
    LinearSpec(in_features=40, out_features=10, batch=3, dtype="int8"),
    PoolSpec(**MAP, pool="max", kernel_size=3, stride=2),
    PoolSpec(**MAP, pool="global_average", batch=2),
    AddSpec(**MAP, activation="relu6"),
    ActivationSpec(**MAP, activation="swish"),
    SqueezeExciteSpec(**MAP, squeeze_channels=4, dtype="fp16"),
    MBConvSpec(**MAP, out_channels=16, expand_channels=48, kernel_size=3, has_residual=True, batch=2),
    MBConvSpec(**MAP, out_channels=24, expand_channels=16, kernel_size=7, stride=2, squeeze_channels=6),
    FusedMBConvSpec(**MAP, out_channels=24, expand_channels=64, kernel_size=3, stride=2, dtype="int8"),
    FusedMBConvSpec(**MAP, out_channels=16, expand_channels=64, kernel_size=3, squeeze_channels=8, has_residual=True),
    IdentitySpec(**MAP),
    ZeroSpec(**MAP),
    SeparableConvSpec(**MAP, out_channels=24, kernel_size=3, stride=2, dilation=2, activation="relu", batch=2),
    SeparableConvSpec(**MAP, out_channels=16, kernel_size=5, dtype="int8"),
    PadChannelsSpec(**MAP, out_channels=40, dtype="fp16"),
]


def test_the_list_holds_every_kind_of_op():
    assert {type(op) for op in EVERY_KIND} == set(get_args(OpSpec))


@pytest.mark.parametrize("op", EVERY_KIND, ids=lambda op: op.key)
def test_macs_bytes_and_kernels_over_arrays_equal_those_of_one_op(op):
    costs = op_costs(op_columns([op]))
    assert costs.macs[0] == macs(op)
    assert costs.kernel_count[0] == len(kernels_of(op))
    if not isinstance(op, IdentitySpec | ZeroSpec):
        assert costs.bytes_moved[0] == bytes_moved(op)


def test_many_ops_at_once_give_the_rows_of_each_alone():
    together = op_features(EVERY_KIND)
    alone = np.vstack([op_features([op]) for op in EVERY_KIND])
    assert np.array_equal(together, alone)
    assert np.isfinite(together).all()


def test_ops_that_differ_have_different_features():
    assert len(np.unique(op_features(EVERY_KIND), axis=0)) == len(EVERY_KIND)


def test_edges_count_what_enters_and_leaves():
    conv = ConvSpec(in_channels=2, in_height=4, in_width=4, out_channels=3, kernel_size=1, stride=2, batch=2)
    assert edge_values([conv])[0] == 2 * (2 * 16 + 3 * 4)


def test_only_identity_and_zero_are_free():
    assert [op.kind for op, free in zip(EVERY_KIND, is_free(EVERY_KIND)) if free] == ["identity", "zero"]


def test_a_hundred_thousand_ops_take_well_under_a_second():
    ops = [
        MBConvSpec(**MAP, out_channels=o, expand_channels=e, kernel_size=3)
        for o in range(1, 101)
        for e in range(1, 101)
    ] * 10
    start = time.perf_counter()
    assert op_features(ops).shape[0] == 100_000
    assert time.perf_counter() - start < 2.0  # 0.3 s on a quiet core
