"""What a foreign network is made of before it is fused: our specs without activations, and a few smaller things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from latency_model.ops import (
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    LinearSpec,
    OpSpec,
    OpSpecError,
    PadChannelsSpec,
    PoolKind,
    PoolSpec,
    Shape,
)

_Windowed: TypeAlias = ConvSpec | DepthwiseConvSpec | PoolSpec
_IMAGE_RANK = 4
_MATRIX_RANK = 2


@dataclass(frozen=True)
class View:
    """Moves no data: reshape, flatten, dropout in inference, (de)quantisation markers."""


@dataclass(frozen=True)
class ChannelConstants:
    """Batch norm, or a sum or product with one constant for each channel: folds into the weights before it.

    Attributes:
        shape: of the activation; a layer before it that gives another number of channels cannot take the constants.
    """

    shape: Shape


@dataclass(frozen=True)
class AddScalar:
    value: float


@dataclass(frozen=True)
class MultiplyScalar:
    value: float


@dataclass(frozen=True)
class Multiply:
    """Product of two activations."""


@dataclass(frozen=True, kw_only=True)
class Unsupported:
    """An operator that our specs cannot express."""

    operator: str
    why: str


@dataclass(frozen=True, kw_only=True)
class SpatialPad(Unsupported):
    """Pixels around the image, which the layer after it may take in: alone it has no spec."""

    input_shape: Shape


@dataclass(frozen=True, kw_only=True)
class OddlyPadded(Unsupported):
    """A layer whose padding of its own gives another size than symmetric padding: ``spec`` is all but that."""

    spec: _Windowed
    output_shape: Shape


Primitive: TypeAlias = OpSpec | View | ChannelConstants | AddScalar | MultiplyScalar | Multiply | Unsupported


@dataclass(frozen=True, kw_only=True)
class Node:
    """One primitive in a graph. ``inputs`` and ``output`` name values; constants are not among them."""

    name: str
    primitive: Primitive
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """Geometry of a convolution or a pool, as files give it: one number for each spatial axis.

    How much is padded where is not among them: what counts for latency is that the output has the size that our
    symmetric padding gives.
    """

    operator: str
    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int] = (1, 1)
    is_padded: bool = False


def constant_primitive(
    operator: str, activation_shape: Shape, constant_shape: Shape | None
) -> ChannelConstants | Unsupported:
    """A sum or product with a constant; only one number for each channel, or one in all, folds into weights."""
    if constant_shape is None:
        return Unsupported(operator=operator, why="the shape of its constant cannot be inferred")
    aligned = (1,) * (len(activation_shape) - len(constant_shape)) + tuple(constant_shape)
    per_channel = tuple(side if axis == 1 else 1 for axis, side in enumerate(activation_shape))
    fits = len(aligned) == len(per_channel)
    if fits and all(side in {1, most} for side, most in zip(aligned, per_channel, strict=True)):
        return ChannelConstants(activation_shape)
    return Unsupported(
        operator=operator,
        why=f"a constant of {constant_shape} on {activation_shape} is not one number for each channel",
    )


def conv_primitive(
    window: Window, input_shape: Shape, output_shape: Shape, *, groups: int, dtype: Dtype
) -> OpSpec | Unsupported:
    """A convolution, depthwise where every channel is its own group."""
    image = _square_image(window, input_shape, output_shape, dtype)
    if isinstance(image, Unsupported):
        return image
    in_channels, out_channels = input_shape[1], output_shape[1]
    try:
        spec: _Windowed
        if groups == in_channels == out_channels > 1:
            spec = DepthwiseConvSpec(dilation=window.dilations[0], **image)
        else:
            spec = ConvSpec(out_channels=out_channels, groups=groups, dilation=window.dilations[0], **image)
    except OpSpecError as error:
        return Unsupported(operator=window.operator, why=str(error))
    return _of_size(spec, window.operator, output_shape)


def pool_primitive(
    window: Window, input_shape: Shape, output_shape: Shape, *, pool: PoolKind, dtype: Dtype
) -> OpSpec | Unsupported:
    """A pool; an average over the whole image is the global one."""
    is_global = tuple(window.kernel) == input_shape[2:] and output_shape[2:] == (1, 1) and not window.is_padded
    if pool == "average" and is_global:
        return global_average_primitive(window.operator, input_shape, dtype)
    image = _square_image(window, input_shape, output_shape, dtype)
    if isinstance(image, Unsupported):
        return image
    if set(window.dilations) != {1}:
        return Unsupported(operator=window.operator, why="a dilated pool")
    try:
        return _of_size(PoolSpec(pool=pool, **image), window.operator, output_shape)
    except OpSpecError as error:
        return Unsupported(operator=window.operator, why=str(error))


def global_average_primitive(operator: str, input_shape: Shape, dtype: Dtype) -> OpSpec | Unsupported:
    """The mean over all pixels."""
    image = image_fields(input_shape, dtype)
    if image is None:
        return Unsupported(operator=operator, why=f"not on a 2-d feature map: input {input_shape}")
    return PoolSpec(pool="global_average", **image)


def pad_primitive(operator: str, input_shape: Shape, output_shape: Shape, dtype: Dtype) -> OpSpec | Unsupported:
    """Constant channels beside the given ones, or pixels; on which side of them, and what they hold, no clock can
    tell."""
    image = image_fields(input_shape, dtype)
    why = f"it pads {input_shape} to {output_shape}, not channels alone"
    if image is not None and output_shape[:2] == input_shape[:2]:
        return SpatialPad(operator=operator, why=why, input_shape=input_shape)
    is_wider = len(output_shape) == _IMAGE_RANK and output_shape[1] > input_shape[1]
    if image is None or not is_wider or input_shape != (output_shape[0], input_shape[1], *output_shape[2:]):
        return Unsupported(operator=operator, why=why)
    return PadChannelsSpec(out_channels=output_shape[1], **image)


def linear_primitive(operator: str, input_shape: Shape, output_shape: Shape, dtype: Dtype) -> OpSpec | Unsupported:
    """A fully connected layer on (batch, features)."""
    if len(input_shape) != _MATRIX_RANK:
        return Unsupported(operator=operator, why=f"not on (batch, features): input {input_shape}")
    batch, in_features = input_shape
    return LinearSpec(batch=batch, dtype=dtype, in_features=in_features, out_features=output_shape[1])


def image_fields(shape: Shape, dtype: Dtype) -> dict[str, Any] | None:
    """The spec fields of a feature map, or None for anything else."""
    if len(shape) != _IMAGE_RANK:
        return None
    batch, channels, height, width = shape
    return {"batch": batch, "dtype": dtype, "in_channels": channels, "in_height": height, "in_width": width}


def _square_image(
    window: Window, input_shape: Shape, output_shape: Shape, dtype: Dtype
) -> dict[str, Any] | Unsupported:
    image = image_fields(input_shape, dtype)
    if image is None or len(output_shape) != _IMAGE_RANK:
        return Unsupported(operator=window.operator, why=f"not on a 2-d feature map: input {input_shape}")
    for name, sides in (("kernel", window.kernel), ("strides", window.strides), ("dilations", window.dilations)):
        if len(set(sides)) != 1:
            return Unsupported(operator=window.operator, why=f"{name} {tuple(sides)} differ between the axes")
    return {**image, "kernel_size": window.kernel[0], "stride": window.strides[0]}


def _of_size(spec: _Windowed, operator: str, output_shape: Shape) -> OpSpec | Unsupported:
    if spec.output_shape == output_shape:
        return spec
    return OddlyPadded(
        operator=operator,
        why=f"its padding gives {output_shape}, where symmetric padding would give {spec.output_shape}",
        spec=spec,
        output_shape=output_shape,
    )
