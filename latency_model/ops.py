"""OpSpec: frozen descriptions of the operators whose latency is measured and predicted.

Every spatial op uses the symmetric padding of PyTorch, ``dilation * (kernel_size - 1) // 2`` on each side,
so the output side is ``ceil(input side / stride)``. A convolution includes its bias (a folded batch norm) and
its activation: that is what runtimes execute as one kernel.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal, TypeAlias, get_args

Activation: TypeAlias = Literal["none", "relu", "relu6", "hswish", "hsigmoid", "sigmoid", "swish"]
Dtype: TypeAlias = Literal["fp32", "fp16", "int8"]
PoolKind: TypeAlias = Literal["average", "max", "global_average"]
Shape: TypeAlias = tuple[int, ...]


class OpSpecError(ValueError):
    """An op description that no network could contain."""


@dataclass(frozen=True, kw_only=True)
class _Op:
    """What all ops share. ``batch`` is the number of images; ``dtype`` that of weights and activations
    (``fp16``: half-precision weights, single-precision arithmetic)."""

    kind: ClassVar[str]
    batch: int = 1
    dtype: Dtype = "fp32"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            allowed = _CHOICES.get(field.name)
            if allowed is not None:
                if value not in allowed:
                    choices = ", ".join(map(str, allowed))
                    raise OpSpecError(f"{self.kind}: {field.name}={value!r}; use one of {choices}.")
            elif type(value) is int and value >= 1:  # nearly all; asking for an Integral takes ten times as long
                continue
            elif (value, field.default) != (None, None) and not (isinstance(value, Integral) and int(value) >= 1):
                raise OpSpecError(f"{self.kind}: {field.name}={value!r}; it must be a whole number, 1 or more.")
        self._check()

    def _check(self) -> None:
        """What one kind of op asks of its own fields."""

    @property
    def key(self) -> str:
        """Stable text that names this op and no other: its kind and all of its fields."""
        fields = ",".join(f"{f.name}={getattr(self, f.name)}" for f in dataclasses.fields(self))
        return f"{self.kind}[{fields}]"


@dataclass(frozen=True, kw_only=True)
class _SpatialOp(_Op):
    """An op on a (batch, in_channels, in_height, in_width) feature map."""

    in_channels: int
    in_height: int
    in_width: int

    @property
    def input_shape(self) -> Shape:
        """(batch, channels, height, width)"""
        return (self.batch, self.in_channels, self.in_height, self.in_width)

    @property
    def output_shape(self) -> Shape:
        return self.input_shape


@dataclass(frozen=True, kw_only=True)
class _StridedOp(_SpatialOp):
    """A spatial op with a square window."""

    kernel_size: int
    stride: int = 1

    @property
    def out_height(self) -> int:
        return -(-self.in_height // self.stride)

    @property
    def out_width(self) -> int:
        return -(-self.in_width // self.stride)

    def _check(self) -> None:
        if self.kernel_size % 2 == 0:
            raise OpSpecError(f"{self.kind}: kernel_size={self.kernel_size}; symmetric padding needs an odd one.")


@dataclass(frozen=True, kw_only=True)
class _WidthOp(_StridedOp):
    """A strided op that gives a width of its own."""

    out_channels: int

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.out_channels, self.out_height, self.out_width)


@dataclass(frozen=True, kw_only=True)
class ConvSpec(_WidthOp):
    """Convolution + bias + activation; ``groups`` > 1 is a grouped convolution."""

    kind: ClassVar[str] = "conv"
    groups: int = 1
    dilation: int = 1
    activation: Activation = "none"

    def _check(self) -> None:
        super()._check()
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise OpSpecError(
                f"conv: groups={self.groups} divides neither or only one of in_channels={self.in_channels} "
                f"and out_channels={self.out_channels}."
            )


@dataclass(frozen=True, kw_only=True)
class DepthwiseConvSpec(_StridedOp):
    """Depthwise convolution (one filter per channel) + bias + activation."""

    kind: ClassVar[str] = "depthwise"
    dilation: int = 1
    activation: Activation = "none"

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.in_channels, self.out_height, self.out_width)


@dataclass(frozen=True, kw_only=True)
class LinearSpec(_Op):
    """Fully connected layer + bias + activation on (batch, in_features)."""

    kind: ClassVar[str] = "linear"
    in_features: int
    out_features: int
    activation: Activation = "none"

    @property
    def input_shape(self) -> Shape:
        return (self.batch, self.in_features)

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.out_features)


@dataclass(frozen=True, kw_only=True)
class PoolSpec(_StridedOp):
    """Average or max pooling (a padded average counts the padding, as in PyTorch), or the mean over all pixels.

    With ``global_average`` kernel_size and stride are 1 and unused, and the output is (batch, channels)."""

    kind: ClassVar[str] = "pool"
    pool: PoolKind
    kernel_size: int = 1

    @property
    def output_shape(self) -> Shape:
        if self.pool == "global_average":
            return (self.batch, self.in_channels)
        return (self.batch, self.in_channels, self.out_height, self.out_width)


@dataclass(frozen=True, kw_only=True)
class AddSpec(_SpatialOp):
    """Element-wise sum of two feature maps + activation."""

    kind: ClassVar[str] = "add"
    activation: Activation = "none"


@dataclass(frozen=True, kw_only=True)
class ActivationSpec(_SpatialOp):
    """An activation that stands alone."""

    kind: ClassVar[str] = "activation"
    activation: Activation

    def _check(self) -> None:
        if self.activation == "none":
            raise OpSpecError("activation: activation='none' does nothing; use an IdentitySpec.")


@dataclass(frozen=True, kw_only=True)
class SqueezeExciteSpec(_SpatialOp):
    """Channel attention: global mean, 1x1 conv to ``squeeze_channels`` + ``activation``, 1x1 conv back +
    ``gate``, product with the input. Source: Hu et al., CVPR 2018; gate as in MobileNetV3."""

    kind: ClassVar[str] = "squeeze_excite"
    squeeze_channels: int
    activation: Activation = "relu"
    gate: Activation = "hsigmoid"


@dataclass(frozen=True, kw_only=True)
class _InvertedBlock(_WidthOp):
    """What the inverted residual blocks share. The input is added to the output when ``has_residual``."""

    expand_channels: int
    squeeze_channels: int | None = None
    activation: Activation = "relu6"
    has_residual: bool = False

    @property
    def expansion(self) -> float:
        """expand_channels / in_channels, the ratio that papers quote."""
        return self.expand_channels / self.in_channels

    def _check(self) -> None:
        super()._check()
        if self.has_residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise OpSpecError(
                f"{self.kind}: a residual needs stride 1 and equal widths, not stride={self.stride}, "
                f"{self.in_channels} -> {self.out_channels}."
            )


@dataclass(frozen=True, kw_only=True)
class MBConvSpec(_InvertedBlock):
    """Mobile inverted bottleneck: 1x1 expand (left out when ``expand_channels == in_channels``), depthwise,
    optional squeeze-excite, 1x1 linear projection. Source: Sandler et al., MobileNetV2, CVPR 2018."""

    kind: ClassVar[str] = "mbconv"


@dataclass(frozen=True, kw_only=True)
class FusedMBConvSpec(_InvertedBlock):
    """Fused inverted block: one full k x k convolution expands, then (squeeze-excite and) 1x1 projection.
    Source: Tan and Le, EfficientNetV2, ICML 2021."""

    kind: ClassVar[str] = "fused_mbconv"


@dataclass(frozen=True, kw_only=True)
class IdentitySpec(_SpatialOp):
    """Passes its input on. It exists in a network's description, not in an exported file."""

    kind: ClassVar[str] = "identity"


@dataclass(frozen=True, kw_only=True)
class ZeroSpec(_SpatialOp):
    """Outputs zeros; beside a shortcut it skips the block. Costs 0 ms by definition, alone among ops."""

    kind: ClassVar[str] = "zero"


@dataclass(frozen=True, kw_only=True)
class SeparableConvSpec(_WidthOp):
    """Depthwise-separable convolution: depthwise (its window may be dilated), then 1x1 to ``out_channels`` +
    activation, both with bias. Source: Chollet, Xception, CVPR 2017."""

    kind: ClassVar[str] = "separable"
    dilation: int = 1
    activation: Activation = "none"


@dataclass(frozen=True, kw_only=True)
class PadChannelsSpec(_SpatialOp):
    """Channels of zeros after the given ones: the shortcut of a block that is wider than the one before it."""

    kind: ClassVar[str] = "pad_channels"
    out_channels: int

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.out_channels, self.in_height, self.in_width)

    def _check(self) -> None:
        if self.out_channels < self.in_channels:
            raise OpSpecError(f"pad_channels: {self.in_channels} channels cannot be padded to {self.out_channels}.")


OpSpec: TypeAlias = (
    ConvSpec
    | DepthwiseConvSpec
    | LinearSpec
    | PoolSpec
    | AddSpec
    | ActivationSpec
    | SqueezeExciteSpec
    | MBConvSpec
    | FusedMBConvSpec
    | IdentitySpec
    | ZeroSpec
    | SeparableConvSpec
    | PadChannelsSpec
)

_CHOICES: dict[str, tuple[object, ...]] = {
    "activation": get_args(Activation),
    "gate": get_args(Activation),
    "dtype": get_args(Dtype),
    "pool": get_args(PoolKind),
    "has_residual": (False, True),
}
