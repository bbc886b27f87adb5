"""What a mixed op puts out in an architecture step, with a gradient on the gates of the paths that did not run."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from search.modules import Zero
from search.paths import PositionPaths

MANY = 4
"""Inactive paths, beside which running the active one again costs little."""


def gated(x: Tensor, candidates: nn.ModuleList, paths: PositionPaths) -> Tensor:
    """The active candidate's output; backward gives every gate dL/dg_j = sum(dL/dy * o_j(x)), and x its gradient.

    Candidates that did not run are run in backward, one at a time and without grad. With few of them what the active
    one needs for its gradient is kept meanwhile. From ``MANY`` on only x is, and the active one is run again as well:
    twice as many images fit into memory, for a twentieth of the step's time, where with two paths it would be a fifth.
    That gives weights no gradient, so it is done of frozen ones alone, as they are in an architecture step.
    """
    active = candidates[paths.active]
    if len(paths.inactive) >= MANY and not any(weight.requires_grad for weight in active.parameters()):
        return cast(Tensor, _RunAgain.apply(x, paths.gates, candidates, paths))  # type: ignore[no-untyped-call]
    y = active(x)
    return cast(Tensor, _Kept.apply(y, paths.gates, x.detach(), candidates, paths))  # type: ignore[no-untyped-call]


class _Kept(torch.autograd.Function):
    """Hands on the output of the active candidate, whose own graph leads to x."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gates: Tensor, x: Tensor, candidates: nn.ModuleList, paths: PositionPaths
    ) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.candidates, ctx.paths, ctx.gate_options = candidates, paths, gates.new_empty(0)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, y = ctx.saved_tensors
        gate_gradients = [torch.sum(grad_y * y)]
        gate_gradients += [_gate_gradient(ctx.candidates[index], x, grad_y) for index in ctx.paths.inactive]
        return grad_y, _as_gates(gate_gradients, ctx.gate_options), None, None, None


class _RunAgain(torch.autograd.Function):
    """Keeps nothing but x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Tensor, candidates: nn.ModuleList, paths: PositionPaths) -> Tensor:
        ctx.save_for_backward(x)
        ctx.candidates, ctx.paths, ctx.gate_options = candidates, paths, gates.new_empty(0)
        y = cast(Tensor, candidates[paths.active](x))
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (x,) = ctx.saved_tensors
        active = ctx.candidates[ctx.paths.active]
        if ctx.needs_input_grad[0] and not isinstance(active, Zero):
            gate_gradient, grad_x = _with_input_gradient(active, x, grad_y)
        else:
            gate_gradient, grad_x = _gate_gradient(active, x, grad_y), None
        inactive = [_gate_gradient(ctx.candidates[index], x, grad_y) for index in ctx.paths.inactive]
        return grad_x, _as_gates([gate_gradient, *inactive], ctx.gate_options), None, None


def _gate_gradient(candidate: nn.Module, x: Tensor, grad_y: Tensor) -> Tensor:
    """sum(dL/dy * o(x)), run without grad. Zero's output is 0, and so is its gate gradient."""
    if isinstance(candidate, Zero):
        return grad_y.new_zeros(())
    with torch.no_grad():
        return torch.sum(grad_y * candidate(x))


def _with_input_gradient(candidate: nn.Module, x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor]:
    """sum(dL/dy * o(x)) and dL/dx."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = candidate(x)
    (grad_x,) = torch.autograd.grad(y, x, grad_y)
    return torch.sum(grad_y * y.detach()), grad_x


def _as_gates(gradients: list[Tensor], options: Tensor) -> Tensor:
    """Gates are on the logits' device (the CPU), activations may be on a GPU."""
    return torch.stack(gradients).to(options)
