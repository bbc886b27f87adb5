"""How a TFLite model stores numbers: single precision, half-precision weights, or 8 bits."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from latency_model.lowering.quantization import (
    InputOutput,
    Int8Params,
    Ranges,
    params_of_range,
    params_of_value,
    quantize_weights,
)
from latency_model.lowering.tflite_graph import TfliteGraph
from latency_model.lowering.tflite_tables import Quantization
from latency_model.lowering.weights import Weights, as_half
from latency_model.ops import Activation, Shape

_HALF_DEQUANTIZE_VERSION = 3
_INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "QUANTIZE": 1}
_INT8_VERSION = 2  # of all other operators


class TfliteNumbers(Protocol):
    """What the emitter asks of a way to store numbers. Values are tensor indices."""

    def input(self, name: str, shape: Shape) -> tuple[int, int]:
        """The tensor of a graph input and its value, which may be another tensor."""

    def value(self, name: str, shape: Shape, clamp: Activation = "none") -> int:
        """A tensor for a value that its operator clamps."""

    def value_like(self, x: int, name: str, shape: Shape) -> int:
        """A tensor for a value that is stored as ``x`` is."""

    def value_up_to(self, high: float, name: str, shape: Shape) -> int:
        """A tensor for a value between 0 and ``high``."""

    def opened(self, x: int, consumer: str) -> int:
        """The value in single precision, for operators that are slow in 8 bits."""

    def closed(self, computed: int, name: str) -> int:
        """The value of a single-precision tensor."""

    def computed_name(self, name: str) -> str:
        """What to call the single-precision tensor that ``closed`` will take."""

    def parameters(self, x: int, name: str, axes: Shape) -> list[int]:
        """Weight, with its axes turned, and bias of the layer ``name`` that reads ``x``."""

    def scalar(self, value: float) -> int:
        """A constant."""

    def lowest(self, x: int) -> int:
        """A constant below all that ``x`` can hold."""

    def version(self, operator: str) -> int:
        """The version of an operator that knows this way."""

    def output(self, x: int) -> int:
        """The tensor to give out for the last value."""


class FloatNumbers:
    """Single precision throughout; the weights may be stored in half."""

    def __init__(self, graph: TfliteGraph, weights: Weights, *, half_weights: bool) -> None:
        self._graph = graph
        self._weights = weights
        self._half_weights = half_weights

    def input(self, name: str, shape: Shape) -> tuple[int, int]:
        tensor = self._graph.tensor(name, shape)
        return tensor, tensor

    def value(self, name: str, shape: Shape, clamp: Activation = "none") -> int:  # noqa: ARG002
        return self._graph.tensor(name, shape)

    def value_like(self, x: int, name: str, shape: Shape) -> int:  # noqa: ARG002
        return self._graph.tensor(name, shape)

    def value_up_to(self, high: float, name: str, shape: Shape) -> int:  # noqa: ARG002
        return self._graph.tensor(name, shape)

    def opened(self, x: int, consumer: str) -> int:  # noqa: ARG002
        return x

    def closed(self, computed: int, name: str) -> int:  # noqa: ARG002
        return computed

    def computed_name(self, name: str) -> str:
        return name

    def parameters(self, x: int, name: str, axes: Shape) -> list[int]:  # noqa: ARG002
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return [self._parameter(f"{name}.weight", weight.transpose(axes)), self._parameter(f"{name}.bias", bias)]

    def scalar(self, value: float) -> int:
        return self._graph.shared_constant(np.array(value, np.float32))

    def lowest(self, x: int) -> int:  # noqa: ARG002
        return self.scalar(-np.inf)

    def version(self, operator: str) -> int:  # noqa: ARG002
        return 1

    def output(self, x: int) -> int:
        return x

    def _parameter(self, key: str, values: NDArray[np.float32]) -> int:
        if not self._half_weights:
            return self._graph.constant(key, values)
        half = self._graph.constant(f"{key}.half", as_half(key, values))
        tensor = self._graph.tensor(key, values.shape)
        options = schema.DequantizeOptionsT()
        return self._graph.operator("DEQUANTIZE", [half], tensor, options, _HALF_DEQUANTIZE_VERSION)


class Int8Numbers:
    """Signed 8-bit activations with a scale each, weights with a scale for each output channel."""

    def __init__(self, graph: TfliteGraph, weights: Weights, ranges: Ranges, io: InputOutput) -> None:
        self._graph = graph
        self._weights = weights
        self._ranges = ranges
        self._io = io
        self._params: dict[int, Int8Params] = {}

    def input(self, name: str, shape: Shape) -> tuple[int, int]:
        if self._io == "quantized":
            value = self.value(name, shape)
            return value, value
        tensor = self._graph.tensor(name, shape)
        params = params_of_value(self._ranges, name)
        return tensor, self._quantized(tensor, self._tensor(f"{name}.quantized", shape, params))

    def value(self, name: str, shape: Shape, clamp: Activation = "none") -> int:
        return self._tensor(name, shape, params_of_value(self._ranges, name, clamp))

    def value_like(self, x: int, name: str, shape: Shape) -> int:
        return self._tensor(name, shape, self._params[x])

    def value_up_to(self, high: float, name: str, shape: Shape) -> int:
        # 256 steps and zero point -128: what LOGISTIC insists on for high = 1
        return self._tensor(name, shape, Int8Params(scale=high / 256, zero_point=-128))

    def opened(self, x: int, consumer: str) -> int:
        real = self._graph.tensor(f"{consumer}.from.{self._graph.name(x)}", self._graph.shape(x))
        options = schema.DequantizeOptionsT()
        return self._graph.operator("DEQUANTIZE", [x], real, options, self.version("DEQUANTIZE"))

    def closed(self, computed: int, name: str) -> int:
        return self._quantized(computed, self.value(name, self._graph.shape(computed)))

    def computed_name(self, name: str) -> str:
        return f"{name}.computed"

    def parameters(self, x: int, name: str, axes: Shape) -> list[int]:
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        stored = quantize_weights(weight, bias, self._params[x].scale)
        channel_axis = axes.index(0)  # 3 for depthwise weights, 0 for others
        return [
            self._stored(f"{name}.weight", stored.weight.transpose(axes), stored.weight_scales, channel_axis),
            self._stored(f"{name}.bias", stored.bias, stored.bias_scales, 0),
        ]

    def scalar(self, value: float) -> int:
        params = params_of_range(min(value, 0.0), max(value, 0.0))
        integer = round(value / params.scale) + params.zero_point
        return self._graph.shared_constant(np.array(integer, np.int8), _quantization(params))

    def lowest(self, x: int) -> int:
        return self._graph.shared_constant(np.array(-128, np.int8), _quantization(self._params[x]))

    def version(self, operator: str) -> int:
        return _INT8_VERSIONS.get(operator, _INT8_VERSION)

    def output(self, x: int) -> int:
        return x if self._io == "quantized" else self.opened(x, "output")

    def _tensor(self, name: str, shape: Shape, params: Int8Params) -> int:
        tensor = self._graph.tensor(name, shape, "int8", _quantization(params))
        self._params[tensor] = params
        return tensor

    def _quantized(self, real: int, tensor: int) -> int:
        return self._graph.operator("QUANTIZE", [real], tensor, schema.QuantizeOptionsT(), self.version("QUANTIZE"))

    def _stored(self, key: str, integers: NDArray[Any], scales: NDArray[np.float32], axis: int) -> int:
        return self._graph.constant(key, integers, Quantization(scales, np.zeros(len(scales), np.int64), axis))


def _quantization(params: Int8Params) -> Quantization:
    return Quantization(np.array([params.scale], np.float32), np.array([params.zero_point], np.int64))
