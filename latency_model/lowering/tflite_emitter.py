"""A network as a TFLite model. Feature maps are NHWC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from latency_model.lowering.tflite_graph import TfliteGraph
from latency_model.lowering.weights import Weights
from latency_model.ops import Activation, ConvSpec, DepthwiseConvSpec, Dtype, LinearSpec, PoolSpec, Shape

_FUSED = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_SINGLE_OPERATOR = {"relu": "RELU", "relu6": "RELU6", "hswish": "HARD_SWISH", "sigmoid": "LOGISTIC"}


class TfliteEmitter:
    """Collects operators. Values are tensor indices of the graph."""

    def __init__(self, weights: Weights, dtype: Dtype) -> None:
        self._graph = TfliteGraph()
        self._weights = weights
        self._dtype = dtype
        self._inputs: list[int] = []

    def input(self, name: str, shape: Shape) -> int:
        self._inputs.append(self._graph.tensor(name, _nhwc(shape)))
        return self._inputs[-1]

    def conv(self, x: int, op: ConvSpec | DepthwiseConvSpec, name: str) -> int:
        x, padding = self._padded(x, op.kernel_size, op.stride, op.dilation)
        fused, rest = _split(op.activation)
        options: dict[str, int] = {
            "padding": padding,
            "strideW": op.stride,
            "strideH": op.stride,
            "dilationWFactor": op.dilation,
            "dilationHFactor": op.dilation,
            "fusedActivationFunction": _FUSED[fused],
        }
        shape = _nhwc(op.output_shape)
        if isinstance(op, DepthwiseConvSpec) or op.groups == op.in_channels > 1:
            inputs = [x, *self._parameters(name, (1, 2, 3, 0))]  # (C, 1, k, k) -> (1, k, k, C)
            multiplier = shape[3] // op.in_channels
            depthwise = schema.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **options)
            y = self._new("DEPTHWISE_CONV_2D", inputs, shape, _before(name, rest), depthwise)
        else:
            inputs = [x, *self._parameters(name, (0, 2, 3, 1))]  # OIHW -> OHWI
            y = self._new("CONV_2D", inputs, shape, _before(name, rest), schema.Conv2DOptionsT(**options))
        return self.activate(y, rest, name)

    def linear(self, x: int, op: LinearSpec, name: str) -> int:
        fused, rest = _split(op.activation)
        inputs = [x, *self._parameters(name, (0, 1))]
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=_FUSED[fused])
        y = self._new("FULLY_CONNECTED", inputs, op.output_shape, _before(name, rest), options)
        return self.activate(y, rest, name)

    def pool(self, x: int, op: PoolSpec, name: str) -> int:
        if op.pool == "global_average":
            return self._spatial_mean(x, op.output_shape, name, keep_axes=False)
        if op.pool == "max":
            x, padding = self._padded(x, op.kernel_size, op.stride, fill=-np.inf)
        elif op.kernel_size > 1:
            # TFLite leaves its own padding out of the average; torch counts it.
            x, padding = self._pad(x, (op.kernel_size - 1) // 2, fill=0.0), schema.Padding.VALID
        else:
            padding = schema.Padding.VALID
        options = schema.Pool2DOptionsT(
            padding=padding,
            strideW=op.stride,
            strideH=op.stride,
            filterWidth=op.kernel_size,
            filterHeight=op.kernel_size,
        )
        operator = "MAX_POOL_2D" if op.pool == "max" else "AVERAGE_POOL_2D"
        return self._new(operator, [x], _nhwc(op.output_shape), name, options)

    def mean(self, x: int, name: str) -> int:
        batch, _, _, channels = self._graph.shape(x)
        return self._spatial_mean(x, (batch, 1, 1, channels), name, keep_axes=True)

    def scale(self, x: int, gate: int, name: str) -> int:
        return self._new("MUL", [x, gate], self._graph.shape(x), name, schema.MulOptionsT())

    def add(self, x: int, y: int, activation: Activation, name: str) -> int:
        fused, rest = _split(activation)
        options = schema.AddOptionsT(fusedActivationFunction=_FUSED[fused])
        z = self._new("ADD", [x, y], self._graph.shape(x), _before(name, rest), options)
        return self.activate(z, rest, name)

    def activate(self, x: int, activation: Activation, name: str) -> int:
        shape = self._graph.shape(x)
        match activation:
            case "none":
                return x
            case "hsigmoid":  # no operator of its own: relu6(x + 3) / 6
                options = schema.AddOptionsT(fusedActivationFunction=_FUSED["relu6"])
                shifted = self._new("ADD", [x, self._scalar(3.0)], shape, f"{name}.shifted", options)
                return self._new("MUL", [shifted, self._scalar(1 / 6)], shape, name, schema.MulOptionsT())
            case "swish":
                gate = self._new("LOGISTIC", [x], shape, f"{name}.sigmoid")
                return self._new("MUL", [x, gate], shape, name, schema.MulOptionsT())
            case _:
                return self._new(_SINGLE_OPERATOR[activation], [x], shape, name)

    def pack(self, output: int, metadata: Mapping[str, str]) -> bytes:
        """The finished file, with its one output called "output"."""
        return self._graph.pack(self._inputs, output, metadata)

    def _new(self, operator: str, inputs: list[int], shape: Shape, name: str, options: Any = None) -> int:
        return self._graph.operator(operator, inputs, self._graph.tensor(name, shape), options)

    def _parameters(self, name: str, axes: Shape) -> list[int]:
        weight = self._weights[f"{name}.weight"].transpose(axes)
        return [
            self._graph.constant(f"{name}.weight", weight),
            self._graph.constant(f"{name}.bias", self._weights[f"{name}.bias"]),
        ]

    def _scalar(self, value: float) -> int:
        return self._graph.shared_constant(np.array(value, dtype=np.float32))

    def _spatial_mean(self, x: int, shape: Shape, name: str, *, keep_axes: bool) -> int:
        axes = self._graph.shared_constant(np.array([1, 2], dtype=np.int32))
        return self._new("MEAN", [x, axes], shape, name, schema.ReducerOptionsT(keepDims=keep_axes))

    def _padded(self, x: int, kernel_size: int, stride: int, dilation: int = 1, fill: float = 0.0) -> tuple[int, int]:
        """The value and the padding mode that together are the symmetric padding of ``OpSpec``."""
        _, height, width, _ = self._graph.shape(x)
        side = dilation * (kernel_size - 1) // 2
        if side == _same_side(height, side, stride) == _same_side(width, side, stride):
            return x, schema.Padding.SAME
        return self._pad(x, side, fill), schema.Padding.VALID

    def _pad(self, x: int, side: int, fill: float) -> int:
        batch, height, width, channels = self._graph.shape(x)
        shape = (batch, height + 2 * side, width + 2 * side, channels)
        sides = np.array([[0, 0], [side, side], [side, side], [0, 0]], dtype=np.int32)
        inputs = [x, self._graph.shared_constant(sides)]
        name = f"{self._graph.name(x)}.padded{side}"
        if fill == 0.0:
            return self._new("PAD", inputs, shape, name, schema.PadOptionsT())
        return self._new("PADV2", [*inputs, self._scalar(fill)], shape, name, schema.PadV2OptionsT())


def _nhwc(shape: Shape) -> Shape:
    if len(shape) != 4:  # noqa: PLR2004 (NC has no layout)
        return shape
    batch, channels, height, width = shape
    return (batch, height, width, channels)


def _split(activation: Activation) -> tuple[Activation, Activation]:
    """What TFLite fuses into the operator before it, and what must stand alone."""
    return (activation, "none") if activation in _FUSED else ("none", activation)


def _before(name: str, rest: Activation) -> str:
    """The name of the value to which the activation ``rest`` is still to be applied."""
    return name if rest == "none" else f"{name}.linear"


def _same_side(size: int, side: int, stride: int) -> int:
    """The padding that TFLite's SAME puts before a window of ``2 * side + 1`` pixels."""
    out = -(-size // stride)
    return max((out - 1) * stride + 2 * side + 1 - size, 0) // 2
