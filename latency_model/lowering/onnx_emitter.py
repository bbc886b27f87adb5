"""A network as an ONNX model. Feature maps are NCHW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from latency_model.lowering.onnx_numbers import OnnxGraph, OnnxNumbers
from latency_model.ops import Activation, ConvSpec, DepthwiseConvSpec, LinearSpec, PadChannelsSpec, PoolSpec, Shape

OPSET = 17  # everything used exists since 14; onnxruntime reads 17 since 1.12
IR_VERSION = 8

_OPERATORS: dict[str, tuple[str, dict[str, float]]] = {
    "hswish": ("HardSwish", {}),
    "hsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
}


class OnnxEmitter:
    """Collects nodes. Values are names of tensors, stored as ``numbers`` has it."""

    def __init__(self, graph: OnnxGraph, numbers: OnnxNumbers) -> None:
        self._graph = graph
        self._numbers = numbers
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Shape) -> str:
        element_type, value = self._numbers.input(name)
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return value

    def conv(self, x: str, op: ConvSpec | DepthwiseConvSpec, name: str) -> str:
        side = op.dilation * (op.kernel_size - 1) // 2
        attributes = {
            "kernel_shape": [op.kernel_size] * 2,
            "strides": [op.stride] * 2,
            "pads": [side] * 4,
            "dilations": [op.dilation] * 2,
            "group": op.in_channels if isinstance(op, DepthwiseConvSpec) else op.groups,
        }
        return self._weighted("Conv", x, op.activation, name, attributes)

    def linear(self, x: str, op: LinearSpec, name: str) -> str:
        return self._weighted("Gemm", x, op.activation, name, {"transB": 1})

    def pool(self, x: str, op: PoolSpec, name: str) -> str:
        if op.pool == "global_average":
            pooled = self.mean(x, name)
            return self._graph.node("Flatten", [pooled], self._numbers.like(pooled, f"{name}.flat"), {"axis": 1})
        attributes: dict[str, Any] = {
            "kernel_shape": [op.kernel_size] * 2,
            "strides": [op.stride] * 2,
            "pads": [(op.kernel_size - 1) // 2] * 4,
        }
        if op.pool == "max":  # picks numbers, so it works on the stored ones
            return self._graph.node("MaxPool", [x], self._numbers.like(x, name), attributes)
        return self._computed("AveragePool", [x], name, attributes | {"count_include_pad": 1})

    def mean(self, x: str, name: str) -> str:
        return self._computed("GlobalAveragePool", [x], name)

    def scale(self, x: str, gate: str, name: str) -> str:
        return self._computed("Mul", [x, gate], name)

    def add(self, x: str, y: str, activation: Activation, name: str) -> str:
        return self._activated("Add", self._opened([x, y], name), activation, name)

    def activate(self, x: str, activation: Activation, name: str) -> str:
        match activation:
            case "none":
                return x
            case "relu" | "relu6":
                real = self._clamped(self._numbers.opened(x, name), activation, self._numbers.computed_name(name))
                return self._numbers.closed(real, name, activation)
            case "swish":
                return self._computed("Mul", [x, self._computed("Sigmoid", [x], f"{name}.sigmoid")], name)
            case _:
                operator, attributes = _OPERATORS[activation]
                return self._computed(operator, [x], name, attributes)

    def pad_channels(self, x: str, op: PadChannelsSpec, name: str) -> str:
        pads = np.array([0, 0, 0, 0, 0, op.out_channels - op.in_channels, 0, 0], np.int64)
        amount = self._graph.initializer(f"{name}.pads", pads)
        return self._activated("Pad", [*self._opened([x], name), amount], "none", name)

    def pack(self, output: str, shape: Shape, metadata: Mapping[str, str]) -> bytes:
        """The finished file, whose one output is called "output"."""
        element_type = self._numbers.output(output)
        model = self._graph.model
        model.graph.node[-1].output[0] = "output"
        model.graph.input.extend(self._inputs)
        model.graph.output.append(helper.make_tensor_value_info("output", element_type, shape))
        model.ir_version, model.producer_name = IR_VERSION, "proxyless"
        model.opset_import.append(helper.make_opsetid("", OPSET))
        helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString())

    def _opened(self, values: Sequence[str], name: str) -> list[str]:
        return [self._numbers.opened(value, name) for value in values]

    def _computed(
        self, operator: str, values: Sequence[str], name: str, attributes: Mapping[str, Any] | None = None
    ) -> str:
        return self._activated(operator, self._opened(values, name), "none", name, attributes)

    def _weighted(self, operator: str, x: str, activation: Activation, name: str, attributes: Mapping[str, Any]) -> str:
        inputs = [self._numbers.opened(x, name), *self._numbers.parameters(x, name)]
        return self._activated(operator, inputs, activation, name, attributes)

    def _activated(
        self,
        operator: str,
        inputs: Sequence[str],
        activation: Activation,
        name: str,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """The operator on opened tensors, then the activation: a clamp inside the same kernel, others after it."""
        before = name if activation == "none" else f"{name}.linear"
        if activation in {"relu", "relu6"}:
            real = self._graph.node(operator, inputs, before, attributes)
            real = self._clamped(real, activation, self._numbers.computed_name(name))
            return self._numbers.closed(real, name, activation)
        real = self._graph.node(operator, inputs, self._numbers.computed_name(before), attributes)
        return self.activate(self._numbers.closed(real, before, "none"), activation, name)

    def _clamped(self, real: str, clamp: Activation, name: str) -> str:
        if clamp == "relu":
            return self._graph.node("Relu", [real], name)
        limits = [self._graph.initializer(f"constant.{n}", np.array(n, np.float32)) for n in (0, 6)]
        return self._graph.node("Clip", [real, *limits], name)
