"""Fused kernels put together into the inverted blocks that they came from: a predictor of blocks reads them so."""

from __future__ import annotations

from collections.abc import Sequence

from latency_model.ingest.networks import NamedKernel
from latency_model.kernels import kernels_of
from latency_model.ops import (
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    MBConvSpec,
    OpSpec,
    SqueezeExciteSpec,
)


def with_blocks(kernels: Sequence[NamedKernel]) -> tuple[NamedKernel, ...]:
    """The same kernels, those that follow each other as in an inverted block as one block.

    Lossless: ``kernels_of`` gives back what went in. A kernel list has no edges, so neighbours whose shapes fit are
    taken for connected.
    """
    grouped: list[NamedKernel] = []
    start = 0
    while start < len(kernels):
        block = _block_at([kernel.op for kernel in kernels[start : start + _LONGEST]])
        op = kernels[start].op if block is None else block
        grouped.append(NamedKernel(name=kernels[start].name, op=op))
        start += 1 if block is None else len(kernels_of(block))
    return tuple(grouped)


_LONGEST = 5  # expand, depthwise, squeeze-excite, project, add


def _block_at(ops: Sequence[OpSpec]) -> MBConvSpec | FusedMBConvSpec | None:
    """The block whose kernels are the first of ``ops``; the longest where several are."""
    match ops:
        case [DepthwiseConvSpec() as window, *rest]:
            return _block(MBConvSpec, window, window.in_channels, rest, ops)
        case [ConvSpec() as expand, DepthwiseConvSpec() as window, *rest] if expand.kernel_size == 1:
            return _block(MBConvSpec, window, expand.in_channels, rest, ops)
        case [ConvSpec() as window, *rest]:
            return _block(FusedMBConvSpec, window, window.in_channels, rest, ops)
        case _:
            return None


def _block(
    block_class: type[MBConvSpec] | type[FusedMBConvSpec],
    window: ConvSpec | DepthwiseConvSpec,
    in_channels: int,
    rest: Sequence[OpSpec],
    ops: Sequence[OpSpec],
) -> MBConvSpec | FusedMBConvSpec | None:
    """The candidate is right when it breaks into the very kernels that are there: no field is compared by hand."""
    squeeze = rest[0] if rest and isinstance(rest[0], SqueezeExciteSpec) else None
    after = rest[1:] if squeeze is not None else rest
    if not after or not isinstance(after[0], ConvSpec):
        return None
    project = after[0]
    can_add = window.stride == 1 and in_channels == project.out_channels
    has_residual = can_add and len(after) > 1 and isinstance(after[1], AddSpec)
    block = block_class(
        batch=window.batch,
        dtype=window.dtype,
        in_channels=in_channels,
        in_height=window.in_height,
        in_width=window.in_width,
        kernel_size=window.kernel_size,
        stride=window.stride,
        out_channels=project.out_channels,
        expand_channels=window.output_shape[1],
        squeeze_channels=None if squeeze is None else squeeze.squeeze_channels,
        activation=window.activation,
        has_residual=has_residual,
    )
    kernels = kernels_of(block)
    return block if tuple(ops[: len(kernels)]) == kernels else None
