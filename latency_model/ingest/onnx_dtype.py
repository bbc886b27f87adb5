"""The number format of an ONNX model, as our specs name it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from latency_model.errors import LatencyModelError
from latency_model.ops import Dtype

_QUANTISED = {TensorProto.UINT8, TensorProto.INT8}
_WITHOUT_A_SPEC = {TensorProto.DOUBLE, TensorProto.BFLOAT16} | {
    number for name, number in TensorProto.DataType.items() if name.startswith(("FLOAT8", "FLOAT4"))
}
_WEIGHT_RANK = 2  # a scalar or a vector of another format is a parameter, and not what is multiplied


def dtype_of_graph(graph: onnx.GraphProto) -> Dtype:
    """int8 where numbers are quantised on the way or come out as such, fp16 where weights are stored in half.

    Raises:
        LatencyModelError: weights or inputs are in a format that our specs do not have.
    """
    weights = {tensor.data_type: tensor.name for tensor in _constants(graph) if len(tensor.dims) >= _WEIGHT_RANK}
    inputs = {value.type.tensor_type.elem_type: value.name for value in graph.input}
    for number, name in (weights | inputs).items():
        if number in _WITHOUT_A_SPEC:
            raise LatencyModelError(
                f"{name!r} holds {TensorProto.DataType.Name(number).lower()} numbers; op specs have fp32, fp16 and "
                "int8, and another format takes another time. Export the model in one of these."
            )
    are_given_out = {value.type.tensor_type.elem_type for value in graph.output} <= _QUANTISED
    if are_given_out or any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    return "fp16" if TensorProto.FLOAT16 in weights else "fp32"


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.name == "value")
