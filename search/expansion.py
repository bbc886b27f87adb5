"""A 1x1 convolution that does the work of the batch norm behind it, so that its wide output is passed over less often.

The statistics of its output follow from those of its few input channels: mean(W x) = W mean(x) and
cov(W x) = W cov(x) W^T. Scaled by them, weight and bias give the normalised output at once: what is not normalised
is neither written, read four times and written again, nor kept for the gradient.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from search.pointwise import places, pointwise_conv

LEAST_EXPANSION = 3
MOST_CHANNELS = 64
LEAST_OUTPUT = 2**19
"""From where it is quicker. Forward and backward of 64 images, one thread, CPU ms, apart and in one: 16 to 96 channels
of 32x32: 42.6 and 29.5; 24 to 144 of 16x16: 13.0 and 9.7; 80 to 240 of 4x4: 2.3 and 2.5."""


def expands(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether ``normalised_expansion`` computes what convolution and batch norm do to ``x``, and sooner."""
    return (
        conv.kernel_size == (1, 1)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and LEAST_EXPANSION * conv.in_channels <= conv.out_channels
        and conv.in_channels <= MOST_CHANNELS
        and x.numel() // conv.in_channels * conv.out_channels >= LEAST_OUTPUT
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and (norm.training or norm.running_mean is None)
    )


def normalised_expansion(x: Tensor, weight: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """The batch's own statistics normalise what a 1x1 convolution makes of ``x`` (batch, channels, h, w); running ones
    are brought up to date.

    Args:
        weight: (outputs, channels, 1, 1).
    """
    matrix = weight.flatten(1)
    mean, covariance = cast("tuple[Tensor, Tensor]", _Moments.apply(x))  # type: ignore[no-untyped-call]
    mean, variance = matrix @ mean, ((matrix @ covariance) * matrix).sum(1)
    _keep(norm, mean.detach(), variance.detach(), x.numel() // x.shape[1])
    scale, shift = affine(norm, mean, variance)
    return pointwise_conv(x, weight * scale.view(-1, 1, 1, 1), shift)


def affine(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and constant per channel of a batch norm with these statistics."""
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def _keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance * count / (count - 1), share)


class _Moments(torch.autograd.Function):
    """Mean and covariance of the channels of (batch, channels, h, w): (channels,) and (channels, channels)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = places(x)
        mean = rows.mean(0)
        centred = rows - mean
        ctx.save_for_backward(x, mean)
        return mean, centred.T @ centred / len(rows)

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_covariance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        rows = places(x)
        both = (grad_covariance + grad_covariance.T) / len(rows)
        grad_rows = torch.addmm(grad_mean / len(rows) - mean @ both, rows, both)
        return grad_rows.view(x.shape[0], *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
