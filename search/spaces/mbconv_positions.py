"""Positions whose candidates are MBConv blocks: what the mobile spaces are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latency_model.ops import Activation, MBConvSpec, ZeroSpec
from search.space import Candidate, Position

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class MBConvMenu:
    """What each position offers: every kernel with every expansion, and skipping the block where that is legal."""

    kernel_sizes: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 6)
    skip: bool = True
    activation: Activation = "relu6"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """``depth`` positions of one width; the first has the stride."""

    width: int
    depth: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """What goes into a block and what comes out of it; ``size`` is the input's (height, width)."""

    in_channels: int
    out_channels: int
    size: Size
    stride: int


def mbconv_position(name: str, stage: int, shape: BlockShape, menu: MBConvMenu) -> Position:
    """One position; it has a shortcut, and may be skipped, where the stride is 1 and the width stays."""
    in_channels, out_channels, size, stride = shape.in_channels, shape.out_channels, shape.size, shape.stride
    has_shortcut = stride == 1 and in_channels == out_channels
    candidates = [
        Candidate(
            label=f"k{kernel_size} e{expansion}",
            op=MBConvSpec(
                in_channels=in_channels,
                in_height=size[0],
                in_width=size[1],
                out_channels=out_channels,
                kernel_size=kernel_size,
                stride=stride,
                expand_channels=in_channels * expansion,
                activation=menu.activation,
                has_residual=has_shortcut,
            ),
        )
        for kernel_size in menu.kernel_sizes
        for expansion in menu.expansions
    ]
    if has_shortcut and menu.skip:
        zero = ZeroSpec(in_channels=in_channels, in_height=size[0], in_width=size[1])
        candidates.append(Candidate(label="skip", op=zero))
    return Position(name=name, stage=stage, candidates=tuple(candidates), has_shortcut=has_shortcut)


def mbconv_positions(
    stages: Sequence[Stage], *, in_channels: int, size: Size, menu: MBConvMenu
) -> tuple[tuple[Position, ...], int, Size]:
    """The positions of all stages, and the width and (height, width) that they end with."""
    positions: list[Position] = []
    for stage_index, stage in enumerate(stages, start=1):
        for block in range(1, stage.depth + 1):
            stride = stage.stride if block == 1 else 1
            shape = BlockShape(in_channels=in_channels, out_channels=stage.width, size=size, stride=stride)
            positions.append(mbconv_position(f"stage{stage_index}.block{block}", stage_index, shape, menu))
            in_channels = stage.width
            size = (-(-size[0] // stride), -(-size[1] // stride))
    return tuple(positions), in_channels, size
