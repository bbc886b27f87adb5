"""The trainable module of each op: convolution, batch norm and activation apart, so that they can learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import assert_never

from latency_model.kernels import named_kernels
from latency_model.ops import (
    Activation,
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
    SqueezeExciteSpec,
    ZeroSpec,
)
from search.depthwise import DepthwiseConv
from search.expansion import expands, normalised_expansion
from search.pointwise import PointwiseConv
from search.relu6 import ReLU6
from search.ungraded_block import Stages, foldable_limit, folded_block

RESIDUAL_START = 0.1
BatchNorm = Callable[[int], nn.Module]
_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": ReLU6,
    "hswish": nn.Hardswish,
    "hsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
}
_LAYERS_OF_THEIR_OWN: dict[Activation, Callable[[], nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}
"""Not in place: other layers may take the same value, as the shortcut around an activation does."""


def batch_statistics_norm(channels: int) -> nn.Module:
    """Batch norm that always uses the batch's own statistics and keeps none: for shared weights, where running
    statistics would mix those of many networks."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


def _conv_class(op: ConvSpec | DepthwiseConvSpec) -> type[nn.Conv2d]:
    if isinstance(op, DepthwiseConvSpec):
        return DepthwiseConv
    return PointwiseConv if (op.kernel_size, op.stride, op.groups) == (1, 1, 1) else nn.Conv2d


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, activation. Its folded form is one ``conv`` or ``depthwise`` kernel."""

    def __init__(self, op: ConvSpec | DepthwiseConvSpec, batch_norm: BatchNorm) -> None:
        super().__init__()
        is_depthwise = isinstance(op, DepthwiseConvSpec)
        out_channels = op.output_shape[1]
        self.conv = _conv_class(op)(
            op.in_channels,
            out_channels,
            op.kernel_size,
            stride=op.stride,
            padding=op.dilation * (op.kernel_size - 1) // 2,
            dilation=op.dilation,
            groups=op.in_channels if is_depthwise else cast(ConvSpec, op).groups,
            bias=False,
        )
        self.bn = batch_norm(out_channels)
        self.activation = _ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        norm = cast(nn.BatchNorm2d, self.bn)
        if expands(x, self.conv, norm):
            return cast(Tensor, self.activation(normalised_expansion(x, self.conv.weight, norm)))
        return cast(Tensor, self.activation(norm(self.conv(x))))


class SqueezeExcite(nn.Module):
    """Channel attention; its two 1x1 convolutions have biases and no batch norm."""

    def __init__(self, channels: int, squeeze_channels: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.expand = nn.Conv2d(squeeze_channels, channels, 1)
        self.activation = _ACTIVATIONS[activation]()
        self.gate = _ACTIVATIONS[gate]()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.gate(self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True)))))
        return cast(Tensor, x * scale)


class InvertedBlock(nn.Module):
    """MBConv or fused MBConv without its residual, which the network (or the mixed op) adds."""

    def __init__(self, op: MBConvSpec | FusedMBConvSpec, batch_norm: BatchNorm) -> None:
        super().__init__()
        self.has_residual = op.has_residual
        self.stages = nn.ModuleDict()
        for name, kernel in named_kernels(op):
            if isinstance(kernel, ConvSpec | DepthwiseConvSpec):
                self.stages[name] = ConvUnit(kernel, batch_norm)
            elif isinstance(kernel, SqueezeExciteSpec):
                self.stages[name] = SqueezeExcite(
                    kernel.in_channels, kernel.squeeze_channels, kernel.activation, kernel.gate
                )
        self.foldable_limit = foldable_limit(op) if batch_norm is batch_statistics_norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.foldable_limit is not None and x.device.type == "cpu" and not torch.is_grad_enabled():
            return folded_block(x, cast(Stages, self.stages), self.foldable_limit)
        for stage in self.stages.values():
            x = stage(x)
        return x


class SeparableConv(nn.Module):
    """Depthwise convolution, then a 1x1 one, each with batch norm."""

    def __init__(self, op: SeparableConvSpec, batch_norm: BatchNorm) -> None:
        super().__init__()
        parts = dict(named_kernels(op))
        self.depthwise = ConvUnit(cast(DepthwiseConvSpec, parts["depthwise"]), batch_norm)
        self.pointwise = ConvUnit(cast(ConvSpec, parts["pointwise"]), batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.pointwise(self.depthwise(x)))


class PadChannels(nn.Module):
    """Channels of zeros after the given ones."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.count))


class Sum(nn.Module):
    """Sum of two feature maps, and activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return cast(Tensor, self.activation(x + y))


class GlobalAverage(nn.Module):
    """(batch, channels, height, width) to (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Zero(nn.Module):
    """Outputs zeros of its input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class LinearUnit(nn.Module):
    """Fully connected layer and activation."""

    def __init__(self, op: LinearSpec) -> None:
        super().__init__()
        self.linear = nn.Linear(op.in_features, op.out_features)
        self.activation = _ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.linear(x)))


def build_module(op: OpSpec, batch_norm: BatchNorm) -> nn.Module:
    """The trainable module of one op; a block comes without its residual. That of an add takes two values."""
    match op:
        case ConvSpec() | DepthwiseConvSpec():
            return ConvUnit(op, batch_norm)
        case MBConvSpec() | FusedMBConvSpec():
            return InvertedBlock(op, batch_norm)
        case LinearSpec():
            return LinearUnit(op)
        case PoolSpec():
            return _pool(op)
        case ActivationSpec():
            return _LAYERS_OF_THEIR_OWN.get(op.activation, _ACTIVATIONS[op.activation])()
        case SqueezeExciteSpec():
            return SqueezeExcite(op.in_channels, op.squeeze_channels, op.activation, op.gate)
        case IdentitySpec():
            return nn.Identity()
        case ZeroSpec():
            return Zero()
        case AddSpec():
            return Sum(op.activation)
        case SeparableConvSpec():
            return SeparableConv(op, batch_norm)
        case PadChannelsSpec():
            return PadChannels(op.out_channels - op.in_channels)
        case _:
            assert_never(op)


def _pool(op: PoolSpec) -> nn.Module:
    padding = (op.kernel_size - 1) // 2
    match op.pool:
        case "global_average":
            return GlobalAverage()
        case "average":
            return nn.AvgPool2d(op.kernel_size, op.stride, padding)
        case "max":
            return nn.MaxPool2d(op.kernel_size, op.stride, padding)
        case _:
            assert_never(op.pool)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He initialisation (fan out) of convolutions, N(0, 0.01) of linear layers, batch norm at the identity, but
    at a tenth of it where a block joins its shortcut: candidates that had few steps then disturb the others little.

    The generator alone decides the values. Source: the settings of the released ProxylessNAS code; the last batch
    norm of a residual block after Goyal et al., 2017, who start it at 0 (then no gate would have a gradient).
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.out_channels * part.kernel_size[0] * part.kernel_size[1] // part.groups
            nn.init.normal_(part.weight, 0.0, (2.0 / fan_out) ** 0.5, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.01, generator=generator)
            nn.init.zeros_(part.bias)
    for block in module.modules():
        if isinstance(block, InvertedBlock) and block.has_residual:
            nn.init.constant_(cast(nn.BatchNorm2d, cast(ConvUnit, block.stages["project"]).bn).weight, RESIDUAL_START)
