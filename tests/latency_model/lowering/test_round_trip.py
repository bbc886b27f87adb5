"""What is written as ONNX can be read back as the kernels that it was made of."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from latency_model.ingest import ingest_onnx
from latency_model.kernels import kernels_of, parameter_count
from latency_model.lowering import Int8Options, nominal_ranges, onnx_bytes, random_weights
from latency_model.network import single_op_network


@settings(max_examples=200, derandomize=True, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["fp32", "fp16", "int8"]))
def test_an_onnx_file_of_any_op_comes_back_as_its_kernels(data, dtype, op_specs):
    op = data.draw(op_specs(dtype))
    assume(
        op.kind not in {"depthwise", "separable"} or op.in_channels > 1
    )  # on one channel the same as a full convolution
    assume(dtype != "fp16" or parameter_count(op))  # without weights there is nothing to tell it by
    assume(op.kind != "pool" or op.in_height * op.in_width > 1)  # on one pixel every average is the global one
    network = single_op_network(op)
    model = onnx_bytes(network, random_weights(network), int8=Int8Options(ranges=nominal_ranges()))
    assert ingest_onnx(model).ops == kernels_of(op)
