"""What an op costs on paper: the fused kernels it breaks into, multiply-accumulates, parameters, bytes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from typing_extensions import assert_never

from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
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

ACTIVATION_BYTES = {"fp32": 4, "fp16": 4, "int8": 1}
WEIGHT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
BIAS_BYTES = {"fp32": 4, "fp16": 2, "int8": 4}


def kernels_of(op: OpSpec) -> tuple[OpSpec, ...]:
    """The fused kernels that the op breaks into, in the order in which they run.

    An op that is a kernel already is returned alone (a convolution with a group for each channel as the depthwise
    one that it is); squeeze-excite stays whole, as one kernel. Identity and zero break into nothing.
    """
    return tuple(kernel for _, kernel in named_kernels(op))


def named_kernels(op: OpSpec) -> tuple[tuple[str, OpSpec], ...]:
    """``kernels_of`` with the name of each kernel inside its block ("expand", "project", ...; "" for an op
    that is a kernel already). Lowering and weights follow this one list."""
    match op:
        case MBConvSpec() | FusedMBConvSpec():
            return tuple(_block_kernels(op))
        case SeparableConvSpec():
            return _separable_kernels(op)
        case IdentitySpec() | ZeroSpec():
            return ()
        case ConvSpec() if op.groups == op.in_channels == op.out_channels > 1:
            return (("", _as_depthwise(op)),)
        case (
            ConvSpec()
            | DepthwiseConvSpec()
            | LinearSpec()
            | PoolSpec()
            | AddSpec()
            | ActivationSpec()
            | SqueezeExciteSpec()
            | PadChannelsSpec()
        ):
            return (("", op),)
        case _:
            assert_never(op)


def _as_depthwise(op: ConvSpec) -> DepthwiseConvSpec:
    names = [field.name for field in dataclasses.fields(DepthwiseConvSpec)]
    return DepthwiseConvSpec(**{name: getattr(op, name) for name in names})


def squeeze_convs(op: SqueezeExciteSpec) -> tuple[tuple[str, ConvSpec], ...]:
    """The two 1x1 convolutions on the pooled vector, with their names."""
    pooled: dict[str, Any] = {
        "batch": op.batch,
        "dtype": op.dtype,
        "in_height": 1,
        "in_width": 1,
        "kernel_size": 1,
    }
    full, few = op.in_channels, op.squeeze_channels
    return (
        ("reduce", ConvSpec(in_channels=full, out_channels=few, activation=op.activation, **pooled)),
        ("expand", ConvSpec(in_channels=few, out_channels=full, activation=op.gate, **pooled)),
    )


def _block_kernels(op: MBConvSpec | FusedMBConvSpec) -> Iterator[tuple[str, OpSpec]]:
    wide = op.expand_channels
    before: dict[str, Any] = {
        "batch": op.batch,
        "dtype": op.dtype,
        "in_height": op.in_height,
        "in_width": op.in_width,
    }
    after = before | {"in_height": op.out_height, "in_width": op.out_width}
    window: dict[str, Any] = {
        "kernel_size": op.kernel_size,
        "stride": op.stride,
        "activation": op.activation,
    }
    if isinstance(op, FusedMBConvSpec):
        yield "fused", ConvSpec(in_channels=op.in_channels, out_channels=wide, **before, **window)
    else:
        if wide != op.in_channels:
            yield (
                "expand",
                ConvSpec(
                    in_channels=op.in_channels,
                    out_channels=wide,
                    kernel_size=1,
                    activation=op.activation,
                    **before,
                ),
            )
        yield "depthwise", DepthwiseConvSpec(in_channels=wide, **before, **window)
    if op.squeeze_channels is not None:
        yield "squeeze", SqueezeExciteSpec(in_channels=wide, squeeze_channels=op.squeeze_channels, **after)
    yield "project", ConvSpec(in_channels=wide, out_channels=op.out_channels, kernel_size=1, **after)
    if op.has_residual:
        yield "add", AddSpec(in_channels=op.out_channels, **after)


def _separable_kernels(op: SeparableConvSpec) -> tuple[tuple[str, OpSpec], ...]:
    shared: dict[str, Any] = {"batch": op.batch, "dtype": op.dtype, "in_channels": op.in_channels}
    depthwise = DepthwiseConvSpec(
        in_height=op.in_height,
        in_width=op.in_width,
        kernel_size=op.kernel_size,
        stride=op.stride,
        dilation=op.dilation,
        **shared,
    )
    pointwise = ConvSpec(
        in_height=op.out_height,
        in_width=op.out_width,
        out_channels=op.out_channels,
        kernel_size=1,
        activation=op.activation,
        **shared,
    )
    return (("depthwise", depthwise), ("pointwise", pointwise))


def macs(op: OpSpec) -> int:
    """Multiply-accumulates of the op's convolutions and linear layers (the literature's "FLOPs"), batch
    included. Pools, sums and activations count 0."""
    match op:
        case ConvSpec():
            window = op.kernel_size**2 * (op.in_channels // op.groups)
            return math.prod(op.output_shape) * window
        case DepthwiseConvSpec():
            return math.prod(op.output_shape) * op.kernel_size**2
        case LinearSpec():
            return op.batch * op.in_features * op.out_features
        case SqueezeExciteSpec():
            return sum(macs(conv) for _, conv in squeeze_convs(op))
        case MBConvSpec() | FusedMBConvSpec() | SeparableConvSpec():
            return sum(map(macs, kernels_of(op)))
        case PoolSpec() | AddSpec() | ActivationSpec() | IdentitySpec() | ZeroSpec() | PadChannelsSpec():
            return 0
        case _:
            assert_never(op)


def weight_shapes(op: OpSpec) -> dict[str, Shape]:
    """The weights of an op and their shapes, in a fixed order: "weight", "bias", or with the kernel's
    name before them ("expand.weight"). Convolutions are OIHW, depthwise (C, 1, k, k), linear (out, in)."""
    match op:
        case ConvSpec():
            k, width = op.kernel_size, op.out_channels
            return {"weight": (width, op.in_channels // op.groups, k, k), "bias": (width,)}
        case DepthwiseConvSpec():
            return {
                "weight": (op.in_channels, 1, op.kernel_size, op.kernel_size),
                "bias": (op.in_channels,),
            }
        case LinearSpec():
            return {"weight": (op.out_features, op.in_features), "bias": (op.out_features,)}
        case SqueezeExciteSpec():
            return _prefixed(squeeze_convs(op))
        case MBConvSpec() | FusedMBConvSpec() | SeparableConvSpec():
            return _prefixed(named_kernels(op))
        case PoolSpec() | AddSpec() | ActivationSpec() | IdentitySpec() | ZeroSpec() | PadChannelsSpec():
            return {}
        case _:
            assert_never(op)


def _prefixed(kernels: tuple[tuple[str, OpSpec], ...]) -> dict[str, Shape]:
    return {f"{name}.{weight}": shape for name, kernel in kernels for weight, shape in weight_shapes(kernel).items()}


def parameter_count(op: OpSpec) -> int:
    """Weights and biases."""
    return sum(math.prod(shape) for shape in weight_shapes(op).values())


def bytes_moved(op: OpSpec) -> int:
    """Bytes that the op's kernels read and write at least: inputs, weights and outputs, once each.

    In ``fp16`` only the weights are halved, as activations stay single precision; squeeze-excite reads its
    input twice (pool, product)."""
    match op:
        case MBConvSpec() | FusedMBConvSpec() | SeparableConvSpec():
            return sum(map(bytes_moved, kernels_of(op)))
        case IdentitySpec() | ZeroSpec():
            return 0
        case _:
            reads = 2 if isinstance(op, AddSpec | SqueezeExciteSpec) else 1
            values = reads * math.prod(op.input_shape) + math.prod(op.output_shape)
            return values * ACTIVATION_BYTES[op.dtype] + _parameter_bytes(op)


def _parameter_bytes(op: OpSpec) -> int:
    sizes = {"weight": WEIGHT_BYTES[op.dtype], "bias": BIAS_BYTES[op.dtype]}
    return sum(math.prod(shape) * sizes[name.rsplit(".", 1)[-1]] for name, shape in weight_shapes(op).items())
