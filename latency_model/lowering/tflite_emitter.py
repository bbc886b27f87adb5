"""A network as a TFLite model. Feature maps are NHWC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from latency_model.lowering.tflite_graph import TfliteGraph
from latency_model.lowering.tflite_numbers import TfliteNumbers
from latency_model.ops import Activation, ConvSpec, DepthwiseConvSpec, LinearSpec, PadChannelsSpec, PoolSpec, Shape

_FUSED = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_SINGLE_OPERATOR = {"relu": "RELU", "relu6": "RELU6", "hswish": "HARD_SWISH"}


class TfliteEmitter:
    """Collects operators. Values are tensor indices of the graph, stored as ``numbers`` has it."""

    def __init__(self, graph: TfliteGraph, numbers: TfliteNumbers) -> None:
        self._graph = graph
        self._numbers = numbers
        self._inputs: list[int] = []

    def input(self, name: str, shape: Shape) -> int:
        tensor, value = self._numbers.input(name, _nhwc(shape))
        self._inputs.append(tensor)
        return value

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
        y = self._numbers.value(_before(name, rest), shape, fused)
        if isinstance(op, DepthwiseConvSpec) or op.groups == op.in_channels > 1:
            inputs = [x, *self._numbers.parameters(x, name, (1, 2, 3, 0))]  # (C, 1, k, k) -> (1, k, k, C)
            multiplier = shape[3] // op.in_channels
            depthwise = schema.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **options)
            self._operator("DEPTHWISE_CONV_2D", inputs, y, depthwise)
        else:
            inputs = [x, *self._numbers.parameters(x, name, (0, 2, 3, 1))]  # OIHW -> OHWI
            self._operator("CONV_2D", inputs, y, schema.Conv2DOptionsT(**options))
        return self.activate(y, rest, name)

    def linear(self, x: int, op: LinearSpec, name: str) -> int:
        fused, rest = _split(op.activation)
        inputs = [x, *self._numbers.parameters(x, name, (0, 1))]
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=_FUSED[fused])
        y = self._numbers.value(_before(name, rest), op.output_shape, fused)
        return self.activate(self._operator("FULLY_CONNECTED", inputs, y, options), rest, name)

    def pool(self, x: int, op: PoolSpec, name: str) -> int:
        if op.pool == "global_average":
            return self._spatial_mean(x, op.output_shape, name, keep_axes=False)
        shape = _nhwc(op.output_shape)
        window: dict[str, int] = {
            "strideW": op.stride,
            "strideH": op.stride,
            "filterWidth": op.kernel_size,
            "filterHeight": op.kernel_size,
        }
        if op.pool == "max":
            x, padding = self._padded(x, op.kernel_size, op.stride, lowest=True)
            options = schema.Pool2DOptionsT(padding=padding, **window)
            return self._operator("MAX_POOL_2D", [x], self._numbers.value_like(x, name, shape), options)
        x = self._pad(x, (op.kernel_size - 1) // 2)  # TFLite leaves its own padding out of an average
        options = schema.Pool2DOptionsT(padding=schema.Padding.VALID, **window)
        return self._in_floats("AVERAGE_POOL_2D", x, shape, name, options)

    def mean(self, x: int, name: str) -> int:
        batch, _, _, channels = self._graph.shape(x)
        return self._spatial_mean(x, (batch, 1, 1, channels), name, keep_axes=True)

    def scale(self, x: int, gate: int, name: str) -> int:
        y = self._numbers.value(name, self._graph.shape(x))
        return self._operator("MUL", [x, gate], y, schema.MulOptionsT())

    def add(self, x: int, y: int, activation: Activation, name: str) -> int:
        fused, rest = _split(activation)
        options = schema.AddOptionsT(fusedActivationFunction=_FUSED[fused])
        z = self._numbers.value(_before(name, rest), self._graph.shape(x), fused)
        return self.activate(self._operator("ADD", [x, y], z, options), rest, name)

    def activate(self, x: int, activation: Activation, name: str) -> int:
        match activation:
            case "none":
                return x
            case "sigmoid":
                return self._sigmoid(x, name)
            case "swish":
                gate = self._sigmoid(x, f"{name}.sigmoid")
                return self.scale(x, gate, name)
            case "hsigmoid":
                return self._hsigmoid(x, name)
            case _:
                return self._in_floats(_SINGLE_OPERATOR[activation], x, self._graph.shape(x), name)

    def pad_channels(self, x: int, op: PadChannelsSpec, name: str) -> int:
        sides = np.array([[0, 0], [0, 0], [0, 0], [0, op.out_channels - op.in_channels]], dtype=np.int32)
        y = self._numbers.value_like(x, name, _nhwc(op.output_shape))
        return self._operator("PAD", [x, self._graph.shared_constant(sides)], y, schema.PadOptionsT())

    def pack(self, output: int, metadata: Mapping[str, str]) -> bytes:
        """The finished file, with its one output called "output"."""
        return self._graph.pack(self._inputs, self._numbers.output(output), metadata)

    def _operator(self, operator: str, inputs: list[int], output: int, options: Any = None) -> int:
        return self._graph.operator(operator, inputs, output, options, self._numbers.version(operator))

    def _in_floats(self, operator: str, x: int, shape: Shape, name: str, options: Any = None) -> int:
        """An operator that is fast in single precision only: XNNPACK turns most such groups into one table."""
        real = self._numbers.opened(x, name)
        y = self._graph.tensor(self._numbers.computed_name(name), shape)
        return self._numbers.closed(self._graph.operator(operator, [real], y, options), name)

    def _sigmoid(self, x: int, name: str) -> int:
        return self._operator("LOGISTIC", [x], self._numbers.value_up_to(1.0, name, self._graph.shape(x)))

    def _hsigmoid(self, x: int, name: str) -> int:
        """relu6(x + 3) / 6, as TFLite has no operator for it."""
        shape = self._graph.shape(x)
        shifted = self._numbers.value_up_to(6.0, f"{name}.shifted", shape)
        options = schema.AddOptionsT(fusedActivationFunction=_FUSED["relu6"])
        self._operator("ADD", [x, self._numbers.scalar(3.0)], shifted, options)
        y = self._numbers.value_up_to(1.0, name, shape)
        return self._operator("MUL", [shifted, self._numbers.scalar(1 / 6)], y, schema.MulOptionsT())

    def _spatial_mean(self, x: int, shape: Shape, name: str, *, keep_axes: bool) -> int:
        axes = self._graph.shared_constant(np.array([1, 2], dtype=np.int32))
        y = self._numbers.value(name, shape)
        return self._operator("MEAN", [x, axes], y, schema.ReducerOptionsT(keepDims=keep_axes))

    def _padded(
        self, x: int, kernel_size: int, stride: int, dilation: int = 1, *, lowest: bool = False
    ) -> tuple[int, int]:
        """The value and the padding mode that together are the symmetric padding of ``OpSpec``."""
        _, height, width, _ = self._graph.shape(x)
        side = dilation * (kernel_size - 1) // 2
        if side == _same_side(height, side, stride) == _same_side(width, side, stride):
            return x, schema.Padding.SAME
        return self._pad(x, side, lowest=lowest), schema.Padding.VALID

    def _pad(self, x: int, side: int, *, lowest: bool = False) -> int:
        if side == 0:
            return x
        batch, height, width, channels = self._graph.shape(x)
        shape = (batch, height + 2 * side, width + 2 * side, channels)
        sides = np.array([[0, 0], [side, side], [side, side], [0, 0]], dtype=np.int32)
        inputs = [x, self._graph.shared_constant(sides)]
        y = self._numbers.value_like(x, f"{self._graph.name(x)}.padded{side}", shape)
        if lowest:
            return self._operator("PADV2", [*inputs, self._numbers.lowest(x)], y, schema.PadV2OptionsT())
        return self._operator("PAD", inputs, y, schema.PadOptionsT())


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
