"""8-bit and half-precision files: what they hold, how they are calibrated, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from latency_model.errors import LoweringError
from latency_model.lowering import (
    Int8Options,
    calibrate,
    nominal_ranges,
    onnx_bytes,
    random_weights,
    tflite_bytes,
)
from latency_model.lowering.quantization import params_of_range, quantize_weights
from latency_model.model_files import write_model
from latency_model.network import NetworkSpec, single_op_network, with_batch, with_dtype
from latency_model.ops import ConvSpec, DepthwiseConvSpec, LinearSpec, MBConvSpec, PoolSpec

BOTH_FORMS = pytest.mark.parametrize("to_bytes", [onnx_bytes, tflite_bytes])
IMAGE = {"in_channels": 8, "in_height": 8, "in_width": 8}
BLOCK = MBConvSpec(
    out_channels=8,
    expand_channels=32,
    kernel_size=3,
    squeeze_channels=8,
    has_residual=True,
    activation="hswish",
    dtype="int8",
    **IMAGE,
)


def test_the_files_take_and_give_integers_unless_floats_are_asked_for():
    network = single_op_network(BLOCK)
    weights = random_weights(network)
    for io, onnx_type, tflite_type in (("quantized", "tensor(uint8)", np.int8), ("float", "tensor(float)", np.float32)):
        int8 = Int8Options(ranges=nominal_ranges(), io=io)
        session = onnxruntime.InferenceSession(onnx_bytes(network, weights, int8=int8))
        assert [value.type for value in [*session.get_inputs(), *session.get_outputs()]] == [onnx_type] * 2
        interpreter = Interpreter(model_content=tflite_bytes(network, weights, int8=int8))
        details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
        assert [detail["dtype"] for detail in details] == [tflite_type] * 2


def test_depthwise_weights_are_quantised_along_the_last_axis_and_their_bias_along_the_first():
    network = single_op_network(DepthwiseConvSpec(kernel_size=3, dtype="int8", **IMAGE))
    model = tflite_bytes(network, random_weights(network), int8=Int8Options(ranges=nominal_ranges()))
    tensors = {detail["name"]: detail for detail in Interpreter(model_content=model).get_tensor_details()}
    weight, bias = tensors["op.weight"], tensors["op.bias"]
    assert (weight["dtype"], weight["quantization_parameters"]["quantized_dimension"]) == (np.int8, 3)
    assert (bias["dtype"], bias["quantization_parameters"]["quantized_dimension"]) == (np.int32, 0)
    assert len(weight["quantization_parameters"]["scales"]) == 8


def test_an_8_bit_onnx_convolution_runs_as_one_integer_kernel(tmp_path):
    conv = ConvSpec(out_channels=8, kernel_size=3, activation="relu6", dtype="int8", **IMAGE)
    network = single_op_network(conv)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    model = onnx_bytes(network, random_weights(network), int8=Int8Options(ranges=nominal_ranges()))
    onnxruntime.InferenceSession(model, options)
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert [name for name in operators if name != "Transpose"] == ["QLinearConv"]  # a lone op changes layout


@BOTH_FORMS
@pytest.mark.parametrize(("dtype", "most"), [("fp16", 0.55), ("int8", 0.35)])
def test_smaller_dtypes_make_smaller_files(to_bytes, dtype, most):
    network = single_op_network(LinearSpec(in_features=512, out_features=256))
    weights = random_weights(network)
    small = to_bytes(with_dtype(network, dtype), weights, int8=Int8Options(ranges=nominal_ranges()))
    assert len(small) < most * len(to_bytes(network, weights))


@BOTH_FORMS
def test_an_8_bit_network_without_ranges_is_refused_with_the_mend(to_bytes):
    network = single_op_network(BLOCK)
    with pytest.raises(LoweringError, match=r"calibrate\(network"):
        to_bytes(network, random_weights(network))


@BOTH_FORMS
def test_ranges_of_another_network_are_refused_by_the_value_they_miss(to_bytes):
    network = single_op_network(BLOCK)
    with pytest.raises(LoweringError, match=r"'op\.expand\.linear'"):
        to_bytes(network, random_weights(network), int8=Int8Options(ranges={"input": (-1.0, 1.0)}))


@BOTH_FORMS
def test_weights_beyond_half_precision_are_refused(to_bytes):
    network = single_op_network(LinearSpec(in_features=2, out_features=2, dtype="fp16"))
    weights = random_weights(network) | {"op.bias": np.array([0, 7e4], np.float32)}
    with pytest.raises(LoweringError, match=r"op\.bias.*65504"):
        to_bytes(network, weights)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_campaign_writes_8_bit_networks_too(runtime, tmp_path):
    path = write_model(single_op_network(BLOCK), runtime, tmp_path / "block")
    if runtime == "litert":
        Interpreter(model_path=str(path)).allocate_tensors()
    else:
        onnxruntime.InferenceSession(str(path))


def test_calibration_sees_the_extremes_of_all_batches_whatever_their_size():
    network = single_op_network(PoolSpec(pool="max", kernel_size=3, **IMAGE))
    low, high = torch.full((3, 8, 8, 8), -2.0), torch.full((5, 8, 8, 8), 7.0)
    assert calibrate(network, {}, [low, high]) == {"input": (-2.0, 7.0), "op": (-2.0, 7.0)}


def test_calibration_cuts_off_a_rare_extreme_where_that_leaves_less_error():
    network = single_op_network(PoolSpec(pool="max", kernel_size=1, in_channels=8, in_height=256, in_width=256))
    inputs = torch.randn(1, 8, 256, 256, generator=torch.Generator().manual_seed(0))
    inputs[0, 0, 0, 1] = 12.0
    low, high = calibrate(network, {}, [inputs])["input"]
    assert low > float(inputs.min())
    assert 4.0 < high < 8.0


def test_calibration_ignores_what_the_next_activation_cannot_tell_apart():
    network = single_op_network(LinearSpec(in_features=1, out_features=1, activation="hswish"))
    weights = {"op.weight": np.ones((1, 1), np.float32), "op.bias": np.zeros(1, np.float32)}
    ranges = calibrate(network, weights, [torch.tensor([[-50.0], [5.0]])])
    assert ranges["op.linear"] == (-3.0, 5.0)


def test_calibration_judges_a_value_by_what_the_next_activation_makes_of_it():
    """Below zero a swish is nearly flat: what is cut off there costs less than coarser steps above would."""
    numbers = 3 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    weights = {"op.weight": np.ones((1, 1), np.float32), "op.bias": np.zeros(1, np.float32)}
    low, high = {}, {}
    for activation in ("none", "swish"):
        network = single_op_network(LinearSpec(in_features=1, out_features=1, activation=activation))
        ranges = calibrate(network, weights, [numbers])
        low[activation], high[activation] = ranges["op" if activation == "none" else "op.linear"]

    def error_after_swish(range_low, range_high):
        params = params_of_range(range_low, range_high)
        integers = (numbers / params.scale).round().add(params.zero_point).clamp(-128, 127)
        held = (integers - params.zero_point) * params.scale
        return float((functional.silu(held) - functional.silu(numbers)).square().sum())

    assert low["swish"] > -6
    assert error_after_swish(low["swish"], high["swish"]) < error_after_swish(-6, high["none"])


def test_calibration_without_inputs_or_with_numbers_that_are_not_finite_is_refused():
    network = single_op_network(PoolSpec(pool="max", kernel_size=3, **IMAGE))
    with pytest.raises(LoweringError, match="no calibration inputs"):
        calibrate(network, {}, [])
    with pytest.raises(LoweringError, match="'input' reaches"):
        calibrate(network, {}, [torch.full((1, 8, 8, 8), float("inf"))])


@given(st.floats(-100, 100), st.floats(0, 100))
@settings(derandomize=True)
def test_zero_and_both_ends_of_a_range_are_held_within_half_a_step(low, span):
    params = params_of_range(low, low + span)
    for real in (0.0, low, low + span):
        integer = np.clip(round(real / params.scale) + params.zero_point, -128, 127)
        error = abs((integer - params.zero_point) * params.scale - real)
        assert error <= max(1.001 * params.scale if real else 0.0, 1e-4)


def test_a_bias_that_dwarfs_its_weights_does_not_overflow():
    weight = np.full((1, 4), 1e-6, np.float32)
    bias = np.array([1000.0], np.float32)
    stored = quantize_weights(weight, bias, input_scale=0.01)
    assert stored.bias[0] * stored.bias_scales[0] == pytest.approx(1000.0, rel=1e-5)


def test_a_network_can_be_described_for_another_batch_and_dtype():
    network = NetworkSpec(name="n", layers=(("a", BLOCK), ("b", dataclasses.replace(BLOCK, has_residual=False))))
    changed = with_dtype(with_batch(network, 4), "fp16")
    assert changed.input_shape == (4, 8, 8, 8)
    assert {op.dtype for op in changed.ops} == {"fp16"}
    assert with_dtype(with_batch(changed, 1), "int8") == network
