"""Our blocks as a user of any framework would write them: torch's own convolutions and activations, same weights."""

from __future__ import annotations

from typing import cast

from torch import nn

from search.depthwise import DepthwiseConv
from search.modules import InvertedBlock
from search.relu6 import ReLU6


def with_torch_modules(module: nn.Module) -> nn.Module:
    """The same values from the same weights; where ours has a quicker way to them or to their gradients, torch's."""
    if isinstance(module, InvertedBlock):
        return nn.Sequential(*(with_torch_modules(stage) for stage in module.stages.values()))
    if isinstance(module, ReLU6):
        return nn.ReLU6(inplace=True)
    if isinstance(module, DepthwiseConv):
        return _torch_convolution(module)
    for name, child in list(module.named_children()):
        setattr(module, name, with_torch_modules(child))
    return module


def _torch_convolution(ours: DepthwiseConv) -> nn.Conv2d:
    convolution = nn.Conv2d(
        ours.in_channels,
        ours.out_channels,
        cast(tuple[int, int], ours.kernel_size),
        stride=cast(tuple[int, int], ours.stride),
        padding=cast(tuple[int, int], ours.padding),
        dilation=cast(tuple[int, int], ours.dilation),
        groups=ours.groups,
        bias=False,
    )
    convolution.weight = ours.weight
    return convolution
