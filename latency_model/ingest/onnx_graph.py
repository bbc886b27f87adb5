"""An ONNX model as primitives. Weights are not read: shapes say all that latency depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_model.ingest.onnx_dtype import dtype_of_graph
from latency_model.ingest.onnx_shapes import known_shapes, with_shapes
from latency_model.ingest.primitives import (
    AddScalar,
    ChannelConstants,
    Multiply,
    MultiplyScalar,
    Node,
    Primitive,
    Unsupported,
    View,
    Window,
    constant_primitive,
    conv_primitive,
    global_average_primitive,
    image_fields,
    linear_primitive,
    pad_primitive,
    pool_primitive,
)
from latency_model.ops import Activation, ActivationSpec, AddSpec, Dtype, PoolKind

_SPATIAL_AXES = {2, 3}
_DROPOUT_MODE = 2  # the input that says whether it is training; missing in inference
_MOST_CONSTANT_VALUES = 16  # larger constants are weights; only their shapes matter

_DOMAINS = {"", "ai.onnx"}  # an operator of another domain is another one, whatever its name
_ACTIVATIONS: dict[str, Activation] = {"Relu": "relu", "HardSwish": "hswish", "Sigmoid": "sigmoid"}
_VIEWS = {
    "Identity",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
}


def onnx_primitives(model: onnx.ModelProto, batch: int) -> tuple[list[Node], list[str]]:
    """Nodes and graph outputs. A first dimension without a number becomes ``batch``.

    Raises:
        LatencyModelError: another dimension has no number.
    """
    reader = _Reader(with_shapes(model, batch))
    return list(reader.nodes()), reader.outputs


class _Reader:
    """Walks over the nodes and knows shapes and constants by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._graph = graph
        self.outputs = [value.name for value in graph.output]
        self._dtype: Dtype = dtype_of_graph(graph)
        self._shapes = known_shapes(graph)
        self._constants: dict[str, NDArray[Any] | None] = {}  # None: a constant whose numbers do not matter
        for tensor in graph.initializer:
            self._note_constant(tensor.name, tensor)

    def nodes(self) -> Iterator[Node]:
        for node in self._graph.node:
            if node.op_type == "Constant":
                self._note_constant(node.output[0], _tensor_of(node))
                continue
            names = (*node.input, *_captured(node))
            inputs = tuple(name for name in names if name and name not in self._constants)
            if not inputs or node.op_type == "Shape":  # computed from constants, or from shapes alone
                self._constants.update(dict.fromkeys(node.output))
                continue
            name = node.name or f"{node.op_type}:{node.output[0]}"
            yield Node(name=name, primitive=self._primitive(node, inputs), inputs=inputs, output=node.output[0])

    def _note_constant(self, name: str, tensor: onnx.TensorProto | None) -> None:
        self._constants[name] = None
        if tensor is not None:
            self._shapes[name] = tuple(tensor.dims)
            is_here = tensor.data_location != TensorProto.EXTERNAL
            if is_here and np.prod(tensor.dims, dtype=int) <= _MOST_CONSTANT_VALUES:
                self._constants[name] = numpy_helper.to_array(tensor)

    def _primitive(self, node: onnx.NodeProto, inputs: tuple[str, ...]) -> Primitive:
        if node.domain not in _DOMAINS:
            return Unsupported(operator=f"{node.domain}::{node.op_type}", why="no op spec stands for it")
        if node.op_type in _VIEWS and len(inputs) == 1:
            return View()
        if any(True for _ in _branches(node)):
            return Unsupported(operator=node.op_type, why="control flow: simplify the model, or export it without")
        if not self._shapes.get(inputs[0]) or node.output[0] not in self._shapes:
            return Unsupported(operator=node.op_type, why="its shape cannot be inferred")
        if node.op_type in _ACTIVATIONS:
            return self._activation(node, _ACTIVATIONS[node.op_type])
        handler = _HANDLERS.get(node.op_type)
        if handler is None:
            return Unsupported(operator=node.op_type, why="no op spec stands for it")
        return handler(self, node)

    def _activation(self, node: onnx.NodeProto, activation: Activation) -> Primitive:
        image = image_fields(self._shapes[node.output[0]], self._dtype)
        if image is None:  # on a vector: only as part of the linear layer before it
            batch, *features = self._shapes[node.output[0]]
            channels = int(np.prod(features))
            image = {"batch": batch, "dtype": self._dtype, "in_channels": channels, "in_height": 1, "in_width": 1}
        return ActivationSpec(activation=activation, **image)

    def clip(self, node: onnx.NodeProto) -> Primitive:
        attributes = _attributes(node)
        limits = [attributes.get("min"), attributes.get("max")]
        for index, name in enumerate(node.input[1:3]):
            if name:
                limits[index] = self._scalar(name)
        if limits == [0.0, 6.0]:
            return self._activation(node, "relu6")
        if limits[0] == 0.0 and limits[1] is None:
            return self._activation(node, "relu")
        return Unsupported(operator="Clip", why=f"limits {limits} are none of relu and relu6")

    def hard_sigmoid(self, node: onnx.NodeProto) -> Primitive:
        attributes = {"alpha": 0.2, "beta": 0.5} | _attributes(node)
        if abs(attributes["alpha"] - 1 / 6) < 1e-4 and attributes["beta"] == 0.5:  # noqa: PLR2004
            return self._activation(node, "hsigmoid")
        return Unsupported(operator="HardSigmoid", why=f"slope {attributes['alpha']:.3g}; hsigmoid has 1/6")

    def conv(self, node: onnx.NodeProto) -> Primitive:
        if node.input[1] not in self._constants:
            return Unsupported(operator=node.op_type, why="its weight is computed from the input")
        x, y = self._shapes[node.input[0]], self._shapes[node.output[0]]
        weight = self._shapes.get(node.input[1], ())
        attributes = _attributes(node)
        rank = len(weight) - 2
        window = Window(
            operator="Conv",
            kernel=weight[2:],
            strides=attributes.get("strides", [1] * rank),
            dilations=attributes.get("dilations", [1] * rank),
        )
        return conv_primitive(window, x, y, groups=attributes.get("group", 1), dtype=self._dtype)

    def matmul(self, node: onnx.NodeProto) -> Primitive:
        if node.input[1] not in self._constants:
            return Unsupported(operator=node.op_type, why="a product of two activations")
        if _attributes(node).get("transA", 0):
            return Unsupported(operator=node.op_type, why="its input is transposed")
        if any(name and name not in self._constants for name in node.input[2:]):
            return Unsupported(operator=node.op_type, why="it adds an activation")
        return linear_primitive(node.op_type, self._shapes[node.input[0]], self._shapes[node.output[0]], self._dtype)

    def pool(self, node: onnx.NodeProto) -> Primitive:
        x, y = self._shapes[node.input[0]], self._shapes[node.output[0]]
        attributes = _attributes(node)
        kernel = attributes["kernel_shape"]
        ones = [1] * len(kernel)
        window = Window(
            operator=node.op_type,
            kernel=kernel,
            strides=attributes.get("strides", ones),
            dilations=attributes.get("dilations", ones),
            is_padded=any(attributes.get("pads", [])),
        )
        pool: PoolKind = "max" if node.op_type == "MaxPool" else "average"
        return pool_primitive(window, x, y, pool=pool, dtype=self._dtype)

    def global_average(self, node: onnx.NodeProto) -> Primitive:
        return global_average_primitive(node.op_type, self._shapes[node.input[0]], self._dtype)

    def reduce_mean(self, node: onnx.NodeProto) -> Primitive:
        shape = self._shapes[node.input[0]]
        axes = _attributes(node).get("axes")
        if axes is None and len(node.input) > 1:
            values = self._constants.get(node.input[1])
            axes = None if values is None else values.tolist()
        if axes is None or {axis % len(shape) for axis in axes} != _SPATIAL_AXES:
            return Unsupported(operator="ReduceMean", why=f"over the axes {axes}, not over all pixels")
        return self.global_average(node)

    def pad(self, node: onnx.NodeProto) -> Primitive:
        if (mode := _attributes(node).get("mode", b"constant")) != b"constant":
            return Unsupported(operator="Pad", why=f"its mode is {mode.decode()!r}, not 'constant'")
        return pad_primitive("Pad", self._shapes[node.input[0]], self._shapes[node.output[0]], self._dtype)

    def add(self, node: onnx.NodeProto) -> Primitive:
        if (scalar := self._constant_operand(node)) is not None:
            return AddScalar(scalar if node.op_type == "Add" else -scalar)
        if self._has_constant(node):
            return self._with_constant(node)
        left, right = (self._shapes.get(name, ()) for name in node.input)
        image = image_fields(left, self._dtype)
        if node.op_type == "Add" and left == right and image is not None:
            return AddSpec(**image)
        return Unsupported(operator=node.op_type, why=f"of {left} and {right}")

    def multiply(self, node: onnx.NodeProto) -> Primitive:
        scalar = self._constant_operand(node)
        if scalar is not None and node.op_type == "Mul":
            return MultiplyScalar(scalar)
        if scalar and node.input[1] in self._constants:
            return MultiplyScalar(1 / scalar)
        if self._has_constant(node) and node.input[0] not in self._constants:
            return self._with_constant(node)
        if node.op_type == "Mul" and not self._has_constant(node):
            return Multiply()
        return Unsupported(operator=node.op_type, why="a quotient of activations")

    def batch_norm(self, node: onnx.NodeProto) -> Primitive:
        if _attributes(node).get("training_mode", 0):
            return Unsupported(operator=node.op_type, why="in training mode: export the model in inference")
        return ChannelConstants(self._shapes[node.input[0]])

    def dropout(self, node: onnx.NodeProto) -> Primitive:
        mode = node.input[_DROPOUT_MODE] if len(node.input) > _DROPOUT_MODE else ""
        values = self._constants.get(mode)
        if mode and (values is None or values.any()):
            return Unsupported(operator=node.op_type, why="in training mode: export the model in inference")
        return View()

    def _with_constant(self, node: onnx.NodeProto) -> Primitive:
        (constant,) = (name for name in node.input if name in self._constants)
        (activation,) = (name for name in node.input if name not in self._constants)
        return constant_primitive(node.op_type, self._shapes[activation], self._shapes.get(constant))

    def _has_constant(self, node: onnx.NodeProto) -> bool:
        return any(name in self._constants for name in node.input)

    def _constant_operand(self, node: onnx.NodeProto) -> float | None:
        """The one number of a constant operand, if there is one and it is a single number."""
        scalars = [self._scalar(name) for name in node.input if name in self._constants]
        return scalars[0] if scalars else None

    def _scalar(self, name: str) -> float | None:
        values = self._constants.get(name)
        return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


_HANDLERS: Mapping[str, Callable[[_Reader, onnx.NodeProto], Primitive]] = {
    "Conv": _Reader.conv,
    "Gemm": _Reader.matmul,
    "MatMul": _Reader.matmul,
    "Clip": _Reader.clip,
    "HardSigmoid": _Reader.hard_sigmoid,
    "AveragePool": _Reader.pool,
    "MaxPool": _Reader.pool,
    "GlobalAveragePool": _Reader.global_average,
    "ReduceMean": _Reader.reduce_mean,
    "Pad": _Reader.pad,
    "Add": _Reader.add,
    "Sub": _Reader.add,
    "Mul": _Reader.multiply,
    "Div": _Reader.multiply,
    "BatchNormalization": _Reader.batch_norm,
    "Dropout": _Reader.dropout,
}


def _branches(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """The values around a node that graphs inside it read; they are not among its inputs."""
    for graph in _branches(node):
        own = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
        for inner in graph.node:
            yield from (name for name in (*inner.input, *_captured(inner)) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in graph.output if value.name not in own)


def _tensor_of(constant: onnx.NodeProto) -> onnx.TensorProto | None:
    """What a node of type Constant holds; None of text and of sparse tensors."""
    (attribute,) = constant.attribute
    tensor: onnx.TensorProto | None = None
    if attribute.name == "value":
        tensor = attribute.t
    elif attribute.name in {"value_float", "value_floats", "value_int", "value_ints"}:
        tensor = numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute)))
    return tensor


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
