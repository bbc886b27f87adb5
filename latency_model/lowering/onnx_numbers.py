"""How an ONNX model stores numbers: single precision, half-precision weights, or 8 bits (QDQ).

An operator computes on single-precision tensors. ``opened`` gives such a tensor for a value, ``closed`` makes a
value of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from latency_model.lowering.quantization import InputOutput, Int8Params, Ranges, params_of_value, quantize_weights
from latency_model.lowering.weights import Weights, as_half
from latency_model.ops import Activation

_UNSIGNED_ZERO = 128
_DATA_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
}


class OnnxGraph:
    """Nodes and initializers in the order in which they were made, written straight into the model: what
    ``onnx.helper`` makes is copied into it again, which took a third of the time of making a file."""

    def __init__(self) -> None:
        self.model = onnx.ModelProto()
        self.model.graph.name = "network"
        self._initializers: set[str] = set()

    def node(self, operator: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Any] | None = None) -> str:
        """Append a node called like its one output; returns the output."""
        node = self.model.graph.node.add(op_type=operator, name=name, input=inputs, output=(name,))
        for key, value in sorted((attributes or {}).items()):
            match value:
                case float():
                    node.attribute.add(name=key, type=AttributeProto.FLOAT, f=value)
                case int():
                    node.attribute.add(name=key, type=AttributeProto.INT, i=value)
                case _:
                    node.attribute.add(name=key, type=AttributeProto.INTS, ints=value)
        return name

    def initializer(self, name: str, value: NDArray[Any]) -> str:
        """A constant; one of the same name is shared."""
        if name not in self._initializers:
            self._initializers.add(name)
            data_type = _DATA_TYPES[value.dtype.name]
            little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
            self.model.graph.initializer.add(
                name=name, data_type=data_type, dims=value.shape, raw_data=little_endian.tobytes()
            )
        return name


class OnnxNumbers(Protocol):
    """What the emitter asks of a way to store numbers. Values are tensor names."""

    def input(self, name: str) -> tuple[int, str]:
        """The type of a graph input and its value."""

    def opened(self, x: str, consumer: str) -> str:
        """A single-precision tensor of the value, for one consumer."""

    def computed_name(self, name: str) -> str:
        """What to call the single-precision tensor that ``closed`` will take."""

    def closed(self, computed: str, name: str, clamp: Activation) -> str:
        """The value ``name`` of a tensor to which ``clamp`` has been applied."""

    def like(self, x: str, name: str) -> str:
        """Note that the value ``name`` is stored as ``x`` is; returns the name."""

    def parameters(self, x: str, name: str) -> list[str]:
        """Single-precision tensors of the weight and bias of the layer ``name`` that reads ``x``."""

    def output(self, x: str) -> int:
        """Append what remains to be done to the last value; returns the type of the graph output."""


class FloatNumbers:
    """Single precision throughout; the weights may be stored in half."""

    def __init__(self, graph: OnnxGraph, weights: Weights, *, half_weights: bool) -> None:
        self._graph = graph
        self._weights = weights
        self._half_weights = half_weights

    def input(self, name: str) -> tuple[int, str]:
        return TensorProto.FLOAT, name

    def opened(self, x: str, consumer: str) -> str:  # noqa: ARG002
        return x

    def computed_name(self, name: str) -> str:
        return name

    def closed(self, computed: str, name: str, clamp: Activation) -> str:  # noqa: ARG002
        return computed

    def like(self, x: str, name: str) -> str:  # noqa: ARG002
        return name

    def parameters(self, x: str, name: str) -> list[str]:  # noqa: ARG002
        return [self._parameter(f"{name}.weight"), self._parameter(f"{name}.bias")]

    def output(self, x: str) -> int:  # noqa: ARG002
        return int(TensorProto.FLOAT)

    def _parameter(self, key: str) -> str:
        if not self._half_weights:
            return self._graph.initializer(key, self._weights[key])
        half = self._graph.initializer(f"{key}.half", as_half(key, self._weights[key]))
        return self._graph.node("Cast", [half], key, {"to": TensorProto.FLOAT})


class Int8Numbers:
    """Unsigned 8-bit activations and signed weights, as QuantizeLinear and DequantizeLinear pairs around every
    operator: onnxruntime turns each group into one integer kernel, where it has one."""

    def __init__(self, graph: OnnxGraph, weights: Weights, ranges: Ranges, io: InputOutput) -> None:
        self._graph = graph
        self._weights = weights
        self._ranges = ranges
        self._io = io
        self._params: dict[str, Int8Params] = {}

    def input(self, name: str) -> tuple[int, str]:
        params = params_of_value(self._ranges, name)
        if self._io == "quantized":
            self._params[name] = params
            return TensorProto.UINT8, name
        return TensorProto.FLOAT, self._quantized(name, f"{name}.quantized", params)

    def opened(self, x: str, consumer: str) -> str:
        return self._dequantized(x, f"{consumer}.from.{x}")

    def computed_name(self, name: str) -> str:
        return f"{name}.computed"

    def closed(self, computed: str, name: str, clamp: Activation) -> str:
        return self._quantized(computed, name, params_of_value(self._ranges, name, clamp))

    def like(self, x: str, name: str) -> str:
        self._params[name] = self._params[x]
        return name

    def parameters(self, x: str, name: str) -> list[str]:
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        stored = quantize_weights(weight, bias, self._params[x].scale)
        # Unsigned weights: on x86 without VNNI onnxruntime multiplies unsigned by signed 8-bit numbers in saturating
        # 16 bits (its quantization guide, "when and why do I need to try U8U8"), and convolutions come out wrong.
        unsigned = (stored.weight.astype(np.int16) + _UNSIGNED_ZERO).astype(np.uint8)
        return [
            self._stored(f"{name}.weight", unsigned, stored.weight_scales, zero_point=_UNSIGNED_ZERO),
            self._stored(f"{name}.bias", stored.bias, stored.bias_scales),
        ]

    def output(self, x: str) -> int:
        if self._io == "quantized":
            return int(TensorProto.UINT8)
        self._dequantized(x, "output")
        return int(TensorProto.FLOAT)

    def _quantized(self, real: str, name: str, params: Int8Params) -> str:
        self._params[name] = params
        return self._graph.node("QuantizeLinear", [real, *self._param_tensors(name)], name)

    def _dequantized(self, x: str, name: str) -> str:
        return self._graph.node("DequantizeLinear", [x, *self._param_tensors(x)], name)

    def _param_tensors(self, x: str) -> list[str]:
        params = self._params[x]
        return [
            self._graph.initializer(f"{x}.scale", np.array(params.scale, np.float32)),
            self._graph.initializer(f"{x}.zero_point", np.array(params.unsigned_zero_point, np.uint8)),
        ]

    def _stored(self, key: str, integers: NDArray[Any], scales: NDArray[np.float32], zero_point: int = 0) -> str:
        inputs = [
            self._graph.initializer(f"{key}.quantized", integers),
            self._graph.initializer(f"{key}.scale", scales),
            self._graph.initializer(f"{key}.zero_point", np.full(scales.shape, zero_point, integers.dtype)),
        ]
        return self._graph.node("DequantizeLinear", inputs, key, {"axis": 0})
