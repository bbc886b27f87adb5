"""An ONNX model that is written straight into its message is the one that onnx's own helpers make."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from latency_model.lowering import Int8Options, nominal_ranges, onnx_bytes, random_weights
from latency_model.network import single_op_network, with_dtype
from latency_model.ops import MBConvSpec

BLOCK = MBConvSpec(
    in_channels=8, in_height=9, in_width=7, out_channels=8, expand_channels=16, kernel_size=3, squeeze_channels=2,
    activation="hswish", has_residual=True,
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_nodes_and_constants_are_what_onnxs_own_helpers_make_of_them_and_pass_its_checker(dtype):
    network = with_dtype(single_op_network(BLOCK), dtype)
    weights = random_weights(network)
    content = onnx_bytes(network, weights, int8=Int8Options(ranges=nominal_ranges()), metadata={"labels": "dög"})
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    for node in model.graph.node:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        assert helper.make_node(node.op_type, node.input, node.output, name=node.name, **attributes) == node
    for tensor in model.graph.initializer:
        assert numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name) == tensor
    names = [tensor.name for tensor in model.graph.initializer]
    assert len(names) == len(set(names))
    assert {prop.key: prop.value for prop in model.metadata_props} == {"labels": "dög"}
    if dtype == "fp32":
        (stored,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("project.weight"))
        np.testing.assert_array_equal(numpy_helper.to_array(stored), weights[stored.name])
