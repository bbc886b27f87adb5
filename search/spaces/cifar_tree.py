"""The paper's CIFAR-10 space: tree-structured cells in place of the 3x3 convolutions of a PyramidNet.

Sources: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, section 4.1 (ops, depth, branches, B and F); Cai et al., Path-level
network transformation, ICML 2018, and its released code (cell and residual block); Han, Kim and Kim, Deep pyramidal
residual networks, CVPR 2017 (widths).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from latency_model.ops import (
    AddSpec,
    ConvSpec,
    IdentitySpec,
    LinearSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
)
from search.errors import SpaceError
from search.space import Candidate, Position, SearchSpace
from search.spaces.ends import stem_conv

STAGE_COUNT = 3
BOTTLENECK = 4
STEM_WIDTH = 16
TREE_DEPTH, BRANCHES = 3, 2
PAPER_BLOCKS, PAPER_FILTERS = 18, 400
SMALLEST_PIXELS = 8


def cifar_tree_space(
    image_shape: tuple[int, int, int] = (3, 32, 32),
    class_count: int = 10,
    blocks: int = PAPER_BLOCKS,
    filters: int = PAPER_FILTERS,
) -> SearchSpace:
    """A tree of 2 + 4 + 8 searched edges in every residual block; 42 B edges in all.

    Each edge is one of seven ops (six where it halves the image: an identity cannot). A node copies its value to its
    two edges and adds what comes back, as in most nodes of the published cells; splitting and concatenating channels is
    not offered. Convolution, batch norm and activation come in this order, so that they fold into one kernel, where
    PyramidNet has batch norm first. The shortcut of a strided block is pooled over 3x3 pixels, not 2x2.

    Args:
        image_shape: (channels, height, width); the paper's are (3, 32, 32).
        class_count: outputs of the classifier.
        blocks: B, residual blocks in each of the three stages.
        filters: F, output channels of the last block; a quarter of them inside its cell.
    Raises:
        SpaceError: images too small for two halvings, no blocks, or fewer filters than the stem widens to.
    """
    _, height, width = image_shape
    if min(height, width) < SMALLEST_PIXELS:
        raise SpaceError(f"The cifar-tree space halves the image twice; {height}x{width} pixels are too few.")
    if blocks < 1 or filters < BOTTLENECK * STEM_WIDTH:
        raise SpaceError(
            f"A cifar-tree space with {blocks} blocks a stage and {filters} filters: it needs at least 1 block and "
            f"{BOTTLENECK * STEM_WIDTH} filters, {BOTTLENECK} times the stem's width."
        )
    stem = stem_conv(image_shape, width=STEM_WIDTH, stride=1, activation="none")
    body = _Body(channels=STEM_WIDTH, size=(height, width), last="stem")
    step = (filters / BOTTLENECK - STEM_WIDTH) / (STAGE_COUNT * blocks)
    for index in range(STAGE_COUNT * blocks):
        stage, block = divmod(index, blocks)
        inner = round(STEM_WIDTH + (index + 1) * step)
        body.add_block(f"stage{stage + 1}.block{block + 1}", stage + 1, inner, 2 if stage > 0 and block == 0 else 1)
    pool = PoolSpec(pool="global_average", **body.shape())
    name = "cifar-tree" if (blocks, filters) == (PAPER_BLOCKS, PAPER_FILTERS) else f"cifar-tree-b{blocks}-f{filters}"
    return SearchSpace(
        name=name,
        stem=(("stem", stem),),
        positions=tuple(body.positions),
        joints=tuple(body.joints),
        wiring=tuple(body.wiring),
        head=(
            ("head.pool", pool),
            ("head.linear", LinearSpec(in_features=body.channels, out_features=class_count)),
        ),
    )


@dataclass
class _Body:
    """Positions, joints and wiring so far, and the layer that they end with."""

    channels: int
    size: tuple[int, int]
    last: str
    positions: list[Position] = field(default_factory=list)
    joints: list[tuple[str, OpSpec]] = field(default_factory=list)
    wiring: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def shape(self) -> dict[str, Any]:
        return _shape(self.channels, self.size)

    def add_block(self, name: str, stage: int, inner: int, stride: int) -> None:
        """1x1 convolution to ``inner`` channels, tree cell, 1x1 convolution to four times as many, shortcut."""
        before, outer = self.last, BOTTLENECK * inner
        size = (-(-self.size[0] // stride), -(-self.size[1] // stride))
        narrow = ConvSpec(out_channels=inner, kernel_size=1, activation="relu", **self.shape())
        self._join(f"{name}.in", narrow, before)
        tree = self._tree(f"{name}.edge", stage, f"{name}.in", _shape(inner, self.size), (stride, TREE_DEPTH))
        self._join(f"{name}.out", ConvSpec(out_channels=outer, kernel_size=1, **_shape(inner, size)), tree)
        shortcut = before
        if stride > 1:
            pool = PoolSpec(pool="average", kernel_size=3, stride=stride, **self.shape())
            shortcut = self._join(f"{name}.pool", pool, shortcut)
        if outer != self.channels:
            pad = PadChannelsSpec(out_channels=outer, **_shape(self.channels, size))
            shortcut = self._join(f"{name}.pad", pad, shortcut)
        self.channels, self.size = outer, size
        self.last = self._join(f"{name}.sum", AddSpec(**self.shape()), f"{name}.out", shortcut)

    def _tree(self, name: str, stage: int, source: str, shape: dict[str, Any], left: tuple[int, int]) -> str:
        """A node: its edges, each with the tree behind it, and their sum; ``left`` is (stride, levels to go)."""
        stride, levels = left
        ends = []
        for branch in range(1, BRANCHES + 1):
            edge = _edge(f"{name}{branch}", stage, shape, stride)
            self.positions.append(edge)
            self.wiring.append((edge.name, (source,)))
            _, channels, height, width = edge.candidates[0].op.output_shape
            after = _shape(channels, (height, width))
            ends.append(self._tree(edge.name, stage, edge.name, after, (1, levels - 1)) if levels > 1 else edge.name)
        return self._join(f"{name.replace('edge', 'node')}0", AddSpec(**after), *ends)

    def _join(self, name: str, op: OpSpec, *sources: str) -> str:
        self.joints.append((name, op))
        self.wiring.append((name, sources))
        return name


def _shape(channels: int, size: tuple[int, int]) -> dict[str, Any]:
    return {"in_channels": channels, "in_height": size[0], "in_width": size[1]}


def _edge(name: str, stage: int, shape: dict[str, Any], stride: int) -> Position:
    """The paper's ops of one edge: what keeps the width, and strides where the cell does."""
    channels = shape["in_channels"]

    def separable(kernel_size: int, dilation: int = 1) -> SeparableConvSpec:
        return SeparableConvSpec(
            out_channels=channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            activation="relu",
            **shape,
        )

    candidates = [
        Candidate(label="dil k3", op=separable(3, dilation=2)),
        Candidate(label="sep k3", op=separable(3)),
        Candidate(label="sep k5", op=separable(5)),
        Candidate(label="sep k7", op=separable(7)),
        Candidate(label="avg k3", op=PoolSpec(pool="average", kernel_size=3, stride=stride, **shape)),
        Candidate(label="max k3", op=PoolSpec(pool="max", kernel_size=3, stride=stride, **shape)),
    ]
    if stride == 1:
        candidates.append(Candidate(label="identity", op=IdentitySpec(**shape)))
    return Position(name=name, stage=stage, candidates=tuple(candidates))
