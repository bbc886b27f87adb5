"""What is drawn of a network: one Block per layer, lined up with the other networks' layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import assert_never

from latency_model.network import NetworkSpec
from latency_model.ops import (
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


@dataclass(frozen=True)
class Block:
    """One layer as drawn. ``kernel`` is None for what has no window, ``side`` is the output's height in pixels."""

    name: str
    short: tuple[str, ...]
    words: str
    kernel: int | None
    expansion: float | None
    out_channels: int
    side: int
    is_skip: bool = False
    has_residual: bool = False
    is_searched: bool = False


def block_of(name: str, op: OpSpec) -> Block:
    """The drawing of one op."""
    channels = op.output_shape[1]
    side = op.output_shape[2] if len(op.output_shape) > 2 else 1  # noqa: PLR2004 - has height and width
    match op:
        case MBConvSpec() | FusedMBConvSpec():
            return _inverted_block(name, op)
        case ConvSpec() | DepthwiseConvSpec():
            kind = "convolution" if isinstance(op, ConvSpec) else "depthwise convolution"
            window = f"{op.kernel_size}x{op.kernel_size}"
            words = f"{window} {kind}, {op.in_channels} to {channels} channels, {side}x{side} pixels"
            return Block(name, ("conv", f"k{op.kernel_size}"), words, op.kernel_size, None, channels, side)
        case SeparableConvSpec():
            return _separable(name, op)
        case LinearSpec():
            return Block(name, ("fc",), f"linear, {op.in_features} to {channels}", None, None, channels, 1)
        case PoolSpec():
            return Block(name, ("pool",), f"{op.pool.replace('_', ' ')} pooling", None, None, channels, side)
        case AddSpec() | ActivationSpec() | SqueezeExciteSpec() | PadChannelsSpec():
            return Block(name, (op.kind[:3],), op.kind.replace("_", " "), None, None, channels, side)
        case IdentitySpec() | ZeroSpec():
            words = "skipped: the input passes on"
            return Block(name, ("skip",), words, None, None, channels, side, is_skip=True, is_searched=True)
        case _:
            assert_never(op)


def _inverted_block(name: str, op: MBConvSpec | FusedMBConvSpec) -> Block:
    expansion = f"{op.expansion:.3g}"
    words = (
        f"inverted bottleneck, kernel {op.kernel_size}, expansion {expansion}, {op.in_channels} to {op.out_channels} "
        f"channels, {op.out_height}x{op.out_width} pixels"
    )
    if op.stride > 1:
        words += f", stride {op.stride}"
    return Block(
        name,
        (f"k{op.kernel_size}", f"e{expansion}"),
        words + (", residual" if op.has_residual else ""),
        op.kernel_size,
        op.expansion,
        op.out_channels,
        op.out_height,
        has_residual=op.has_residual,
        is_searched=True,
    )


def _separable(name: str, op: SeparableConvSpec) -> Block:
    dilated = f", dilation {op.dilation}" if op.dilation > 1 else ""
    strided = f", stride {op.stride}" if op.stride > 1 else ""
    words = (
        f"separable convolution, kernel {op.kernel_size}{dilated}, {op.in_channels} to {op.out_channels} channels, "
        f"{op.out_height}x{op.out_width} pixels{strided}"
    )
    short = (f"{'dil' if op.dilation > 1 else 'sep'}", f"k{op.kernel_size}")
    return Block(name, short, words, op.kernel_size, None, op.out_channels, op.out_height, is_searched=True)


def blocks_of(network: NetworkSpec) -> list[Block]:
    return [block_of(name, op) for name, op in network.layers]


def describe_network(blocks: Sequence[Block]) -> str:
    """The drawing in words, for those who do not see it."""
    return "; ".join(f"{block.name}: {block.words}" for block in blocks) + "."


def merged_names(networks: Sequence[Sequence[Block]]) -> list[str]:
    """All layer names in network order, so that equal positions stand under each other."""
    merged: list[str] = []
    for blocks in networks:
        place = 0
        for block in blocks:
            if block.name in merged:
                place = merged.index(block.name) + 1
            else:
                merged.insert(place, block.name)
                place += 1
    return merged
