"""Torch, ONNX and TFLite forms of one description give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_model.lowering import onnx_bytes, random_weights, run_torch, tflite_bytes
from latency_model.network import NetworkSpec, single_op_network
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
)


@pytest.fixture(scope="session")
def assert_forms_agree(run_onnx, run_tflite):
    def check(network: NetworkSpec, tolerance: float = 1e-5) -> None:
        weights = random_weights(network, seed=1)
        generator = torch.Generator().manual_seed(2)
        add_shapes = [op.input_shape for op in network.ops if isinstance(op, AddSpec)]
        inputs = [torch.randn(shape, generator=generator) for shape in [network.input_shape, *add_shapes]]
        expected = run_torch(network, weights, *inputs).numpy()
        arrays = [value.numpy() for value in inputs]
        for found in (
            run_onnx(onnx_bytes(network, weights), *arrays),
            run_tflite(tflite_bytes(network, weights), *arrays),
        ):
            assert found.shape == expected.shape == network.output_shape
            assert found.dtype == np.float32
            limit = tolerance * max(float(np.abs(expected).max()), 1e-3)
            np.testing.assert_allclose(found, expected, rtol=0, atol=limit)

    return check


@settings(max_examples=250, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_kind_of_op_agrees_in_single_precision(data, op_specs, assert_forms_agree):
    assert_forms_agree(single_op_network(data.draw(op_specs("fp32"))))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_kind_of_op_agrees_with_half_precision_weights(data, op_specs, assert_forms_agree):
    assert_forms_agree(single_op_network(data.draw(op_specs("fp16"))))


EVEN = {"in_channels": 4, "in_height": 8, "in_width": 8}


@pytest.mark.parametrize(
    "op",
    [
        ConvSpec(out_channels=4, kernel_size=3, stride=2, **EVEN),
        DepthwiseConvSpec(kernel_size=5, stride=2, **EVEN),
        PoolSpec(pool="average", kernel_size=3, **EVEN),
        PoolSpec(pool="max", kernel_size=3, stride=2, **EVEN),
        ConvSpec(out_channels=4, kernel_size=3, stride=2, in_channels=4, in_height=8, in_width=7),
        DepthwiseConvSpec(kernel_size=3, stride=2, dilation=2, **EVEN),
        ConvSpec(out_channels=8, kernel_size=3, groups=4, **EVEN),
    ],
    ids=lambda op: op.key,
)
def test_symmetric_padding_and_its_relatives_survive_every_layout(op: OpSpec, assert_forms_agree):
    assert_forms_agree(single_op_network(op))


def test_a_max_pool_of_negative_numbers_does_not_see_its_padding(run_tflite):
    network = single_op_network(PoolSpec(pool="max", kernel_size=3, stride=2, **EVEN))
    below_zero = np.full((1, 4, 8, 8), -5.0, np.float32)
    assert (run_tflite(tflite_bytes(network, {}), below_zero) == -5.0).all()


def _small_mobile_network(activation: str, squeeze: int | None, batch: int = 1) -> NetworkSpec:
    side = {"batch": batch, "in_height": 16, "in_width": 16}
    half = {"batch": batch, "in_height": 8, "in_width": 8}
    block = {"kernel_size": 5, "activation": activation, "squeeze_channels": squeeze}
    return NetworkSpec(
        name="small",
        layers=(
            (
                "stem",
                ConvSpec(
                    batch=batch,
                    in_channels=3,
                    in_height=32,
                    in_width=32,
                    out_channels=8,
                    kernel_size=3,
                    stride=2,
                    activation=activation,
                ),
            ),
            ("b0", MBConvSpec(in_channels=8, out_channels=8, expand_channels=8, **side, **block)),
            ("b1", MBConvSpec(in_channels=8, out_channels=16, expand_channels=48, stride=2, **side, **block)),
            ("b2", MBConvSpec(in_channels=16, out_channels=16, expand_channels=96, has_residual=True, **half, **block)),
            ("skipped", IdentitySpec(in_channels=16, **half)),
            (
                "b3",
                FusedMBConvSpec(
                    in_channels=16, out_channels=16, expand_channels=32, has_residual=True, **half, **block
                ),
            ),
            ("pool", PoolSpec(in_channels=16, pool="global_average", **half)),
            ("classifier", LinearSpec(batch=batch, in_features=16, out_features=10)),
        ),
    )


@pytest.mark.parametrize(("activation", "squeeze", "batch"), [("relu6", None, 1), ("hswish", 4, 3), ("swish", 4, 1)])
def test_whole_networks_agree(activation, squeeze, batch, assert_forms_agree):
    assert_forms_agree(_small_mobile_network(activation, squeeze, batch))


def test_a_chain_with_an_add_takes_its_second_operand_from_an_input_of_its_own(assert_forms_agree):
    add = AddSpec(activation="relu", **EVEN)
    conv = ConvSpec(out_channels=4, kernel_size=3, **EVEN)
    assert_forms_agree(NetworkSpec(name="sums", layers=(("first", add), ("conv", conv), ("second", add))))
