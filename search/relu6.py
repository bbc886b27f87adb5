"""ReLU6 that keeps its output alone for the gradient; torch's in-place one keeps a copy of its input as well."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

LARGEST = 6.0


class ReLU6(nn.Module):
    """The input between 0 and 6, in place: what comes before it must not need its own output for its gradient, as batch
    norms, convolutions and sums do not."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return cast(Tensor, _Clip.apply(x))  # type: ignore[no-untyped-call]
        return x.clamp_(0.0, LARGEST)


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_(0.0, LARGEST)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return cast(Tensor, torch.ops.aten.hardtanh_backward(grad_y, y, 0.0, LARGEST))
