"""Modules of a narrower width that own no weights: they use the first channels of the widest width's module.

Source: Yu et al., Slimmable neural networks, ICLR 2019, with the statistics of each batch in place of a batch norm per
width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from latency_model.kernels import named_kernels
from latency_model.ops import (
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    SqueezeExciteSpec,
)
from search.errors import SpaceError
from search.modules import (
    ConvUnit,
    InvertedBlock,
    LinearUnit,
    SqueezeExcite,
    batch_statistics_norm,
    build_module,
)
from search.pointwise import PointwiseConv, pointwise_conv


class NarrowConvUnit(nn.Module):
    """The first output channels of a ``ConvUnit``, from its first input channels."""

    def __init__(self, op: ConvSpec | DepthwiseConvSpec, wide: ConvUnit) -> None:
        super().__init__()
        is_depthwise = isinstance(op, DepthwiseConvSpec)
        if not is_depthwise and cast(ConvSpec, op).groups != 1:
            raise SpaceError("The channels of a grouped convolution cannot be shared between widths.")
        self.wide = (wide,)  # in a tuple, so that the weights are registered with their owner alone
        self.out_channels = op.output_shape[1]
        self.groups = op.in_channels if is_depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.wide[0].conv, cast(nn.BatchNorm2d, self.wide[0].bn)
        inputs = 1 if self.groups > 1 else x.shape[1]
        weight = conv.weight[: self.out_channels, :inputs]
        if isinstance(conv, PointwiseConv):
            y = pointwise_conv(x, weight)
        else:
            y = functional.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, self.groups)
        scale, shift = norm.weight[: self.out_channels], norm.bias[: self.out_channels]
        y = functional.batch_norm(y, None, None, scale, shift, training=True, eps=norm.eps)
        return cast(Tensor, self.wide[0].activation(y))


class NarrowSqueezeExcite(nn.Module):
    """The first channels of a ``SqueezeExcite``."""

    def __init__(self, squeeze_channels: int, wide: SqueezeExcite) -> None:
        super().__init__()
        self.wide, self.squeeze_channels = (wide,), squeeze_channels

    def forward(self, x: Tensor) -> Tensor:
        wide, channels, squeezed = self.wide[0], x.shape[1], self.squeeze_channels
        assert wide.reduce.bias is not None and wide.expand.bias is not None
        mean = x.mean((2, 3), keepdim=True)
        hidden = functional.conv2d(mean, wide.reduce.weight[:squeezed, :channels], wide.reduce.bias[:squeezed])
        hidden = wide.activation(hidden)
        scale = functional.conv2d(hidden, wide.expand.weight[:channels, :squeezed], wide.expand.bias[:channels])
        return cast(Tensor, x * wide.gate(scale))


class NarrowLinearUnit(nn.Module):
    """The first outputs of a ``LinearUnit``, from its first inputs."""

    def __init__(self, op: LinearSpec, wide: LinearUnit) -> None:
        super().__init__()
        self.wide, self.out_features = (wide,), op.out_features

    def forward(self, x: Tensor) -> Tensor:
        linear = self.wide[0].linear
        y = functional.linear(x, linear.weight[: self.out_features, : x.shape[1]], linear.bias[: self.out_features])
        return cast(Tensor, self.wide[0].activation(y))


class NarrowBlock(nn.Module):
    """MBConv or fused MBConv (without its residual) in the first channels of a wider one."""

    def __init__(self, op: MBConvSpec | FusedMBConvSpec, wide: InvertedBlock) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for name, kernel in named_kernels(op):
            if name not in wide.stages:
                continue
            owner = wide.stages[name]
            if isinstance(kernel, ConvSpec | DepthwiseConvSpec):
                stages.append(NarrowConvUnit(kernel, cast(ConvUnit, owner)))
            elif isinstance(kernel, SqueezeExciteSpec):
                stages.append(NarrowSqueezeExcite(kernel.squeeze_channels, cast(SqueezeExcite, owner)))
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.stages(x))


def narrow_module(op: OpSpec, wide: nn.Module) -> nn.Module:
    """The module of ``op`` on the weights of ``wide``, the module of the same op with as many channels or more.

    Raises:
        SpaceError: a grouped convolution, whose channels cannot be shared.
    """
    match op:
        case ConvSpec() | DepthwiseConvSpec():
            return NarrowConvUnit(op, cast(ConvUnit, wide))
        case MBConvSpec() | FusedMBConvSpec():
            return NarrowBlock(op, cast(InvertedBlock, wide))
        case SqueezeExciteSpec():
            return NarrowSqueezeExcite(op.squeeze_channels, cast(SqueezeExcite, wide))
        case LinearSpec():
            return NarrowLinearUnit(op, cast(LinearUnit, wide))
        case _:
            return build_module(op, batch_statistics_norm)  # the others have no weights
