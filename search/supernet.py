"""MixedOp and SuperNet: all candidates of all positions, of which one path per position runs and stays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from latency_model.ops import OpSpec
from latency_model.wiring import steps_of, walk
from search.allocator import hand_back_freed_memory
from search.gated_paths import gated
from search.modules import Zero, batch_statistics_norm, build_module, initialise
from search.narrow_modules import narrow_module
from search.paths import PathSample, PositionPaths
from search.plain_network import module_name
from search.space import Position, SearchSpace


class MixedOp(nn.Module):
    """The candidates of one position. Its output is the active candidate's (plus the shortcut)."""

    def __init__(self, position: Position, wide: MixedOp | None = None) -> None:
        super().__init__()
        self.has_shortcut = position.has_shortcut
        ops = [candidate.op for candidate in position.candidates]
        self.candidates: nn.ModuleList = nn.ModuleList(_modules(ops, None if wide is None else wide.candidates))

    def forward(self, x: Tensor, paths: PositionPaths) -> Tensor:
        active = self.candidates[paths.active]
        if paths.gates is not None:
            y = gated(x, self.candidates, paths)
        elif isinstance(active, Zero):
            return x
        else:
            y = active(x)
        return y + x if self.has_shortcut else y


class SuperNet(nn.Module):
    """Every network of a space in one module; ``forward(images, paths)`` runs the one that ``paths`` names.

    Batch norms keep no running statistics: no step, recomputed path or validation can pollute them. Where the space has
    narrower widths, they run on the first channels of the same weights.
    """

    def __init__(self, space: SearchSpace, generator: torch.Generator) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Sequential(*_modules([op for _, op in space.stem]))
        self.mixed_ops = nn.ModuleList(MixedOp(position) for position in space.positions)
        self.head = nn.Sequential(*_modules([op for _, op in space.head]))
        self.narrower = nn.ModuleList(_Narrower(narrower, self) for narrower in space.narrower)
        self.joints = nn.ModuleDict(
            {module_name(name): build_module(op, batch_statistics_norm) for name, op in space.joints}
        )
        first = space.stem[-1][0]
        self.steps = steps_of([name for name, _ in space.wiring], space.wiring, first) if space.wiring else ()
        initialise(self, generator)

    def forward(self, images: Tensor, paths: PathSample) -> Tensor:
        """(batch, channels, height, width) to (batch, classes)."""
        if paths.width < len(self.narrower):
            return cast(Tensor, self.narrower[paths.width](images, paths))
        if self.steps:
            return cast(Tensor, self.head(self._wired(self.stem(images), paths)))
        return _run(self, images, paths)

    def chain(self, width: int) -> SuperNet | _Narrower | None:
        """The stem, mixed ops and head of a width, each run on what the one before puts out; None where the space is
        wired otherwise."""
        if width < len(self.narrower):
            return cast(_Narrower, self.narrower[width])
        return None if self.steps else self

    def _wired(self, x: Tensor, paths: PathSample) -> Tensor:
        """Mixed ops and joints as the space's wiring joins them."""
        searched = {
            position.name: (mixed_op, active)
            for position, mixed_op, active in zip(self.space.positions, self.mixed_ops, paths.positions, strict=True)
        }

        def run(name: str, values: list[Tensor]) -> Tensor:
            if name in searched:
                mixed_op, active = searched[name]
                return cast(Tensor, mixed_op(values[0], active))
            return cast(Tensor, self.joints[module_name(name)](*values))

        return walk(self.steps, x, run)


class _Narrower(nn.Module):
    """All networks of a narrower width, on the weights of the widest."""

    def __init__(self, space: SearchSpace, wide: SuperNet) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_modules([op for _, op in space.stem], wide.stem))
        self.mixed_ops = nn.ModuleList(
            MixedOp(position, cast(MixedOp, mixed_op))
            for position, mixed_op in zip(space.positions, wide.mixed_ops, strict=True)
        )
        self.head = nn.Sequential(*_modules([op for _, op in space.head], wide.head))

    def forward(self, images: Tensor, paths: PathSample) -> Tensor:
        return _run(self, images, paths)


def _run(networks: SuperNet | _Narrower, images: Tensor, paths: PathSample) -> Tensor:
    x = networks.stem(images)
    for mixed_op, position in zip(networks.mixed_ops, paths.positions, strict=True):
        x = mixed_op(x, position)
    return cast(Tensor, networks.head(x))


def _modules(ops: Sequence[OpSpec], wide: nn.Sequential | nn.ModuleList | None = None) -> list[nn.Module]:
    """A module of its own for each op, or one on the weights of its counterpart in ``wide``."""
    if wide is None:
        return [build_module(op, batch_statistics_norm) for op in ops]
    return [narrow_module(op, module) for op, module in zip(ops, wide, strict=True)]


def build_supernet(space: SearchSpace, generator: torch.Generator, device: torch.device | None = None) -> SuperNet:
    """A new supernet in channels_last, on its device (None: the CPU), in no more memory than it needs."""
    supernet: SuperNet = SuperNet(space, generator).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    hand_back_freed_memory()
    return supernet


@contextmanager
def frozen_weights(supernet: SuperNet) -> Iterator[None]:
    """No gradient on weights inside: an architecture step then keeps nothing for them, and nothing of the stem."""
    weights = [weight for weight in supernet.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
