"""A network as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_model.lowering.weights import Weights
from latency_model.ops import Activation, ConvSpec, DepthwiseConvSpec, Dtype, LinearSpec, PoolSpec, Shape

OPSET = 17  # the first with all we use is 14; 17 is read by every onnxruntime since 1.12
IR_VERSION = 8

_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "hswish": ("HardSwish", {}),
    "hsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
}


class OnnxEmitter:
    """Collects nodes. Values are the names of NCHW tensors."""

    def __init__(self, weights: Weights, dtype: Dtype) -> None:
        self._weights = weights
        self._dtype = dtype
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def conv(self, x: str, op: ConvSpec | DepthwiseConvSpec, name: str) -> str:
        side = op.dilation * (op.kernel_size - 1) // 2
        attributes = {
            "kernel_shape": [op.kernel_size] * 2,
            "strides": [op.stride] * 2,
            "pads": [side] * 4,
            "dilations": [op.dilation] * 2,
            "group": op.in_channels if isinstance(op, DepthwiseConvSpec) else op.groups,
        }
        return self._activated("Conv", [x, *self._parameters(name)], op.activation, name, attributes)

    def linear(self, x: str, op: LinearSpec, name: str) -> str:
        return self._activated("Gemm", [x, *self._parameters(name)], op.activation, name, {"transB": 1})

    def pool(self, x: str, op: PoolSpec, name: str) -> str:
        if op.pool == "global_average":
            return self._node("Flatten", [self.mean(x, f"{name}.mean")], name, {"axis": 1})
        attributes: dict[str, Any] = {
            "kernel_shape": [op.kernel_size] * 2,
            "strides": [op.stride] * 2,
            "pads": [(op.kernel_size - 1) // 2] * 4,
        }
        if op.pool == "max":
            return self._node("MaxPool", [x], name, attributes)
        return self._node("AveragePool", [x], name, attributes | {"count_include_pad": 1})

    def mean(self, x: str, name: str) -> str:
        return self._node("GlobalAveragePool", [x], name)

    def scale(self, x: str, gate: str, name: str) -> str:
        return self._node("Mul", [x, gate], name)

    def add(self, x: str, y: str, activation: Activation, name: str) -> str:
        return self._activated("Add", [x, y], activation, name, {})

    def activate(self, x: str, activation: Activation, name: str) -> str:
        match activation:
            case "none":
                return x
            case "relu6":
                limits = [self._initializer(f"constant.{limit}", np.array(limit, np.float32)) for limit in (0, 6)]
                return self._node("Clip", [x, *limits], name)
            case "swish":
                return self._node("Mul", [x, self._node("Sigmoid", [x], f"{name}.sigmoid")], name)
            case _:
                operator, attributes = _ACTIVATIONS[activation]
                return self._node(operator, [x], name, attributes)

    def pack(self, shape: Shape, metadata: Mapping[str, str]) -> bytes:
        """The finished file, whose one output, called "output", is what was emitted last."""
        self._nodes[-1].output[0] = "output"
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "network", self._inputs, [result], [*self._initializers.values()])
        model = helper.make_model(
            graph,
            producer_name="proxyless",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString())

    def _node(
        self, operator: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Any] | None = None
    ) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **(attributes or {})))
        return name

    def _activated(
        self,
        operator: str,
        inputs: Sequence[str],
        activation: Activation,
        name: str,
        attributes: Mapping[str, Any],
    ) -> str:
        if activation == "none":
            return self._node(operator, inputs, name, attributes)
        return self.activate(self._node(operator, inputs, f"{name}.linear", attributes), activation, name)

    def _parameters(self, name: str) -> list[str]:
        return [self._initializer(key, self._weights[key]) for key in (f"{name}.weight", f"{name}.bias")]

    def _initializer(self, name: str, value: NDArray[np.float32]) -> str:
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name
