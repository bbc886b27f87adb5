"""An inverted block on the batch's own statistics where nobody asks for a gradient: fewer passes over its widest maps.

The first batch norm becomes part of the first convolution (``search.expansion``). That behind the depthwise convolution
becomes limits of the clipping and part of the last convolution: relu6(a y + b) = a clip(y, -b/a, (6 - b)/a) + b, and
the last batch norm takes any constant away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from latency_model.ops import FusedMBConvSpec, MBConvSpec
from search.expansion import affine, normalised_expansion
from search.pointwise import pointwise_conv

_LARGEST = {"relu": float("inf"), "relu6": 6.0}


class Stage(Protocol):
    """What a block reads of a convolution with batch norm."""

    conv: nn.Conv2d
    bn: nn.BatchNorm2d


Stages = Mapping[str, Stage]


def foldable_limit(op: MBConvSpec | FusedMBConvSpec) -> float | None:
    """The limit of the activation of a block that ``folded_block`` computes; None for any other block."""
    return _LARGEST.get(op.activation) if isinstance(op, MBConvSpec) and op.squeeze_channels is None else None


def folded_block(x: Tensor, stages: Stages, largest: float) -> Tensor:
    """The block's output (without its residual), to rounding.

    Args:
        largest: the limit of its activation.
    """
    if "expand" in stages:
        expand = stages["expand"]
        x = normalised_expansion(x, expand.conv.weight, expand.bn).clamp_(0.0, largest)
    depthwise, project = stages["depthwise"], stages["project"]
    y = cast(Tensor, depthwise.conv(x))
    mean, variance = torch.batch_norm_update_stats(y, None, None, 0.0)
    scale, shift = affine(depthwise.bn, mean, variance)
    low, high = _limits(scale, shift, largest)
    y.clamp_(low.view(-1, 1, 1), high.view(-1, 1, 1))
    return cast(Tensor, project.bn(pointwise_conv(y, project.conv.weight * scale.view(-1, 1, 1))))


def _limits(scale: Tensor, shift: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """Between which y is clipped for scale * y + shift to lie between 0 and ``largest``.

    A channel of scale 0 is constant, whatever its limits are.
    """
    divisor = torch.where(scale == 0, 1.0, scale)
    bounds = -shift / divisor, (largest - shift) / divisor
    return torch.minimum(*bounds), torch.maximum(*bounds)
