"""Depthwise convolution whose weight gradient is quick on a CPU for large kernels on small maps."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_KERNEL_SIZE = 5
LARGEST_MAP = 14 * 14
IMAGES_AT_ONCE = 64
"""Where torch's own gradient is slower. Of 64 images in channels_last, one thread, CPU ms, torch's and ours: 480
channels of 4x4, kernel 7: 43 and 3.3, kernel 3: 0.3 and 1.8; 144 channels of 8x8, kernel 7: 8.0 and 4.9; 96 channels of
16x16, kernel 7: 22 and 28."""


class DepthwiseConv(nn.Conv2d):
    """``nn.Conv2d`` with one filter per channel; the same values, and gradients to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight, self.stride[0], cast(int, self.padding[0]), self.dilation[0])


def depthwise_conv(x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """Each channel of ``x`` (batch, channels, h, w) with its filter of ``weight`` (channels, 1, kernel, kernel)."""
    if torch.is_grad_enabled() and weight.requires_grad and dilation == 1 and _is_slow(x, weight, stride):
        return cast(Tensor, _Depthwise.apply(x, weight, stride, padding))  # type: ignore[no-untyped-call]
    return functional.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])


def _is_slow(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether torch's own weight gradient is."""
    places = x.shape[2] * x.shape[3] / stride**2
    return places <= LARGEST_MAP and weight.shape[2] >= LEAST_KERNEL_SIZE and x.device.type == "cpu"


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            stride, padding = (ctx.stride, ctx.stride), (ctx.padding, ctx.padding)
            grad_x, _, _ = torch.ops.aten.convolution_backward(
                grad_y, x, weight, None, stride, padding, (1, 1), False, (0, 0), weight.shape[0], (True, False, False)
            )
        if ctx.needs_input_grad[1]:
            pieces = zip(torch.split(x, IMAGES_AT_ONCE), torch.split(grad_y, IMAGES_AT_ONCE), strict=True)
            grad_weight = sum(_weight_gradient(*piece, weight, ctx.stride, ctx.padding) for piece in pieces)
        return grad_x, cast("Tensor | None", grad_weight), None, None


def _weight_gradient(x: Tensor, grad_y: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """sum over images and places of grad_y[place] * x[stride * place + tap], for every tap.

    That is itself a depthwise convolution: channels of each image are channels of their own, grad_y holds their filters
    and the stride is the dilation.
    """
    images, channels, _, _ = x.shape
    size = weight.shape[2]
    filters = grad_y.reshape(images * channels, 1, *grad_y.shape[2:])
    taps = functional.conv2d(_in_one_image(x), filters, None, 1, padding, stride, images * channels)
    by_image = taps[:, :, :size, :size].permute(0, 2, 3, 1).reshape(size, size, images, channels)
    return by_image.sum(2).permute(2, 0, 1).unsqueeze(1)


def _in_one_image(x: Tensor) -> Tensor:
    """(images, channels, h, w) to (1, images * channels, h, w), channels last in memory."""
    images, channels, height, width = x.shape
    return x.permute(2, 3, 0, 1).reshape(1, height, width, images * channels).permute(0, 3, 1, 2)
