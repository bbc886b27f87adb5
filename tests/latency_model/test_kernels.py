"""The paper costs of ops."""

import pytest

from latency_model.kernels import bytes_moved, kernels_of, macs, parameter_count
from latency_model.ops import (
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PoolSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)

SIDE_8 = {"in_height": 8, "in_width": 8}


def test_an_inverted_block_breaks_into_expand_depthwise_squeeze_project_and_add():
    block = MBConvSpec(
        in_channels=16,
        out_channels=16,
        expand_channels=96,
        kernel_size=5,
        squeeze_channels=4,
        has_residual=True,
        activation="hswish",
        batch=2,
        **SIDE_8,
    )
    assert kernels_of(block) == (
        ConvSpec(in_channels=16, out_channels=96, kernel_size=1, activation="hswish", batch=2, **SIDE_8),
        DepthwiseConvSpec(in_channels=96, kernel_size=5, activation="hswish", batch=2, **SIDE_8),
        SqueezeExciteSpec(in_channels=96, squeeze_channels=4, batch=2, **SIDE_8),
        ConvSpec(in_channels=96, out_channels=16, kernel_size=1, batch=2, **SIDE_8),
        AddSpec(in_channels=16, batch=2, **SIDE_8),
    )


def test_a_block_that_does_not_expand_has_no_expand_kernel_and_strides_in_its_depthwise():
    block = MBConvSpec(in_channels=16, out_channels=24, expand_channels=16, kernel_size=3, stride=2, **SIDE_8)
    depthwise, project = kernels_of(block)
    assert depthwise == DepthwiseConvSpec(in_channels=16, kernel_size=3, stride=2, activation="relu6", **SIDE_8)
    assert project == ConvSpec(in_channels=16, out_channels=24, kernel_size=1, in_height=4, in_width=4)


def test_a_fused_block_breaks_into_one_full_convolution_and_a_projection():
    block = FusedMBConvSpec(in_channels=8, out_channels=12, expand_channels=32, kernel_size=3, stride=2, **SIDE_8)
    assert kernels_of(block) == (
        ConvSpec(in_channels=8, out_channels=32, kernel_size=3, stride=2, activation="relu6", **SIDE_8),
        ConvSpec(in_channels=32, out_channels=12, kernel_size=1, in_height=4, in_width=4),
    )


def test_a_convolution_with_a_group_for_each_channel_is_a_depthwise_kernel():
    conv = ConvSpec(in_channels=8, out_channels=8, groups=8, kernel_size=5, stride=2, activation="relu", **SIDE_8)
    assert kernels_of(conv) == (DepthwiseConvSpec(in_channels=8, kernel_size=5, stride=2, activation="relu", **SIDE_8),)


def test_identity_and_zero_break_into_nothing_and_cost_nothing():
    for op in (IdentitySpec(in_channels=8, **SIDE_8), ZeroSpec(in_channels=8, **SIDE_8)):
        assert (kernels_of(op), macs(op), parameter_count(op), bytes_moved(op)) == ((), 0, 0, 0)


CONV = ConvSpec(in_channels=8, out_channels=16, kernel_size=3, stride=2, groups=4, **SIDE_8)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (CONV, 16 * 4 * 4 * 9 * 2),
        (DepthwiseConvSpec(in_channels=8, kernel_size=5, batch=3, **SIDE_8), 3 * 8 * 64 * 25),
        (LinearSpec(in_features=10, out_features=7, batch=2), 140),
        (SqueezeExciteSpec(in_channels=8, squeeze_channels=2, **SIDE_8), 32),
        (PoolSpec(in_channels=8, pool="max", kernel_size=3, **SIDE_8), 0),
    ],
)
def test_macs_count_the_multiplications_of_convolutions_and_linear_layers(op: OpSpec, expected: int):
    assert macs(op) == expected


def test_parameters_are_weights_and_biases():
    assert parameter_count(CONV) == 16 * 2 * 9 + 16
    assert parameter_count(LinearSpec(in_features=10, out_features=7)) == 77
    assert parameter_count(SqueezeExciteSpec(in_channels=8, squeeze_channels=2, **SIDE_8)) == 18 + 24


@pytest.mark.parametrize(
    ("dtype", "value", "weight", "bias"), [("fp32", 4, 4, 4), ("fp16", 4, 2, 2), ("int8", 1, 1, 4)]
)
def test_bytes_moved_are_inputs_weights_and_outputs_in_the_dtype(dtype, value, weight, bias):
    linear = LinearSpec(in_features=10, out_features=7, dtype=dtype)
    assert bytes_moved(linear) == 17 * value + 70 * weight + 7 * bias
    assert bytes_moved(AddSpec(in_channels=2, dtype=dtype, **SIDE_8)) == 3 * 128 * value
