"""The one walk over a network that every form of it is made by: torch, ONNX and TFLite differ in the emitter."""

from __future__ import annotations

from typing import Protocol, TypeVar

from typing_extensions import assert_never

from latency_model.errors import LoweringError
from latency_model.kernels import kernels_of, named_kernels, squeeze_convs
from latency_model.network import NetworkSpec
from latency_model.ops import (
    Activation,
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    Shape,
    SqueezeExciteSpec,
    ZeroSpec,
)
from latency_model.wiring import INPUT, walk

Value = TypeVar("Value")
_RESERVED_NAMES = ("input", "output", "constant")


class Emitter(Protocol[Value]):
    """What a form of a network can be told to do. ``name`` is the name of the value that results, and the one
    under which weights and calibrated ranges are found."""

    def input(self, name: str, shape: Shape) -> Value:
        """A new graph input; ``shape`` is NCHW (or NC), whatever the layout of the form."""

    def conv(self, x: Value, op: ConvSpec | DepthwiseConvSpec, name: str) -> Value:
        """Convolution, bias and activation."""

    def linear(self, x: Value, op: LinearSpec, name: str) -> Value:
        """Fully connected layer, bias and activation."""

    def pool(self, x: Value, op: PoolSpec, name: str) -> Value:
        """Pooling; the global average drops the spatial axes."""

    def mean(self, x: Value, name: str) -> Value:
        """Mean over all pixels that keeps the spatial axes, 1 x 1."""

    def scale(self, x: Value, gate: Value, name: str) -> Value:
        """Product of a feature map with one number for each channel."""

    def add(self, x: Value, y: Value, activation: Activation, name: str) -> Value:
        """Sum and activation."""

    def activate(self, x: Value, activation: Activation, name: str) -> Value:
        """An activation by itself."""

    def pad_channels(self, x: Value, op: PadChannelsSpec, name: str) -> Value:
        """Channels of zeros after those of ``x``."""


def emit(emitter: Emitter[Value], op: OpSpec, x: Value, name: str) -> Value:
    """Emit one op on the value ``x``; returns the value that it gives.

    An ``AddSpec`` takes its second operand from a graph input of its own, called "<name>.other".

    Raises:
        LoweringError: the op is a ``ZeroSpec``.
    """
    match op:
        case ConvSpec() | DepthwiseConvSpec():
            return emitter.conv(x, op, name)
        case LinearSpec():
            return emitter.linear(x, op, name)
        case PoolSpec():
            return emitter.pool(x, op, name)
        case ActivationSpec():
            return emitter.activate(x, op.activation, name)
        case AddSpec():
            other = emitter.input(f"{name}.other", op.input_shape)
            return emitter.add(x, other, op.activation, name)
        case SqueezeExciteSpec():
            gate = emitter.mean(x, f"{name}.mean")
            for part, conv in squeeze_convs(op):
                gate = emitter.conv(gate, conv, f"{name}.{part}")
            return emitter.scale(x, gate, name)
        case MBConvSpec() | FusedMBConvSpec() | SeparableConvSpec():
            return _emit_block(emitter, op, x, name)
        case PadChannelsSpec():
            return emitter.pad_channels(x, op, name)
        case IdentitySpec():
            return x
        case ZeroSpec():
            raise LoweringError(
                f"Layer {name!r} is a ZeroSpec, which makes all that follows it constant. A residual block whose "
                "main path is zero passes its input on: describe it as an IdentitySpec."
            )
        case _:
            assert_never(op)


def _emit_block(
    emitter: Emitter[Value], op: MBConvSpec | FusedMBConvSpec | SeparableConvSpec, x: Value, name: str
) -> Value:
    value = x
    for part, kernel in named_kernels(op):
        if isinstance(kernel, AddSpec):
            value = emitter.add(value, x, kernel.activation, f"{name}.{part}")
        else:
            value = emit(emitter, kernel, value, f"{name}.{part}")
    return value


def emit_network(emitter: Emitter[Value], network: NetworkSpec) -> Value:
    """Emit all layers, from the graph input "input"; returns the network's output."""
    ops = dict(network.layers)

    def run(name: str, values: list[Value]) -> Value:
        op = ops[name]
        if isinstance(op, AddSpec) and len(values) > 1:
            return emitter.add(values[0], values[1], op.activation, name)
        return emit(emitter, op, values[0], name)

    return walk(network.steps, emitter.input(INPUT, network.input_shape), run)


def check_lowerable(network: NetworkSpec) -> Dtype:
    """The one dtype of a network that can be written to a file.

    Raises:
        LoweringError: nothing of the network runs, its layers have several dtypes, or names collide.
    """
    if not any(kernels_of(op) for op in network.ops):
        raise LoweringError(
            f"Network {network.name!r} holds only identity or zero ops, which do not exist in a model file: "
            "there is nothing to write or to time."
        )
    dtypes = sorted({op.dtype for op in network.ops})
    if len(dtypes) > 1:
        raise LoweringError(
            f"Network {network.name!r} mixes the dtypes {', '.join(dtypes)}; a model file has one. Give every "
            "layer the same dtype."
        )
    _check_names([name for name, _ in network.layers])
    return network.ops[0].dtype


def _check_names(names: list[str]) -> None:
    taken = {*names, *_RESERVED_NAMES}
    for name in names:
        parts = name.split(".")
        starts = {".".join(parts[:count]) for count in range(1, len(parts))}
        if name in _RESERVED_NAMES or starts & taken:
            raise LoweringError(
                f"The layer name {name!r} is, or lies inside, a name that stands for something else: layers and "
                f"their parts share one dotted name space, where {', '.join(_RESERVED_NAMES)} are taken. Rename it."
            )
