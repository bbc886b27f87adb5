"""Draws a network as SVG: colour is the kernel, thickness the expansion, length the number of channels.

Modelled on figure 4 of Cai, Zhu and Han, ProxylessNAS, ICLR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search.report.blocks import Block, block_of, blocks_of, describe_network, merged_names
from search.report.run_folder import NetworkRecord, RunRecord

_KERNEL_CLASSES = {1: "k1", 3: "k3", 5: "k5", 7: "k7"}
_LARGEST_EXPANSION = 6.0
_WORD_WIDTH = 34  # "conv" has to fit
_THICKEST_TALL = 32  # leaves room for the brackets of neighbours


@dataclass(frozen=True)
class _Grid:
    """Where things stand: ``pitch`` from layer to layer, ``reach`` for the longest bar."""

    pitch: float
    reach: float
    shortest: float
    centre: float


def colour_class(block: Block) -> str:
    """The CSS class that gives the block its colour."""
    if block.is_skip:
        return "skip"
    if not block.is_searched or block.kernel is None:
        return "fixed"
    return _KERNEL_CLASSES.get(block.kernel, "k9")


def draw_wide(title: str, blocks: Sequence[Block], names: Sequence[str]) -> Markup:
    """Left to right, for wide screens. ``names`` are the columns; a layer that is absent leaves its column empty."""
    grid = _Grid(pitch=min(max(1072 / len(names), 34), 84), reach=92, shortest=38, centre=70)
    width, height = grid.pitch * len(names), 142
    most = max(block.out_channels for block in blocks)
    by_name = {block.name: block for block in blocks}
    parts = [f'<line class="rail" x1="0" x2="{width:.0f}" y1="{grid.centre}" y2="{grid.centre}"/>']
    side: int | None = None
    for column, name in enumerate(names):
        block = by_name.get(name)
        if block is None:
            continue
        x = (column + 0.5) * grid.pitch
        if block.side != side:
            parts.append(_side_mark(column * grid.pitch + 3, 11, block.side))
            side = block.side
        parts.append(_wide_block(block, x, grid, most))
    return _svg("wide", (width, height), title, blocks, parts)


def _wide_block(block: Block, x: float, grid: _Grid, most: int) -> str:
    if block.is_skip:
        return _group(
            block,
            f'<circle cx="{x:.1f}" cy="{grid.centre}" r="15"/><text x="{x:.1f}" y="{grid.centre + 3.5}">skip</text>',
        )
    length = _length(block, grid, most)
    thickness = _thickness(block) * grid.pitch
    if block.expansion is None:
        thickness = min(max(thickness, _WORD_WIDTH), grid.pitch - 3)
    top, left = grid.centre - length / 2, x - thickness / 2
    shape = f'<rect x="{left:.1f}" y="{top:.1f}" width="{thickness:.1f}" height="{length:.1f}" rx="4"/>'
    if block.has_residual:
        ends = (left - 3, x + thickness / 2 + 3)
        path = f"M{ends[0]:.1f} {grid.centre} V{top - 5:.1f} H{ends[1]:.1f} V{grid.centre}"
        shape += f'<path class="residual" d="{path}"/>'
    first_line = grid.centre + 4 - 6.5 * (len(block.short) - 1)
    lines = "".join(
        f'<text x="{x:.1f}" y="{first_line + 13 * i:.1f}">{escape(line)}</text>' for i, line in enumerate(block.short)
    )
    return _group(block, f'{shape}{lines}<text class="width" x="{x:.1f}" y="136">{block.out_channels}</text>')


def draw_tall(title: str, blocks: Sequence[Block], names: Sequence[str]) -> Markup:
    """Top to bottom and narrow, so that three networks fit side by side on a phone."""
    grid = _Grid(pitch=36, reach=78, shortest=48, centre=46)
    width, height = 112, grid.pitch * len(names) + 6
    most = max(block.out_channels for block in blocks)
    by_name = {block.name: block for block in blocks}
    parts = [f'<line class="rail" x1="{grid.centre}" x2="{grid.centre}" y1="0" y2="{height:.0f}"/>']
    for row, name in enumerate(names):
        if block := by_name.get(name):
            parts.append(_tall_block(block, (row + 0.5) * grid.pitch + 3, grid, most))
    return _svg("tall", (width, height), title, blocks, parts)


def _tall_block(block: Block, y: float, grid: _Grid, most: int) -> str:
    text = f'<text x="{grid.centre}" y="{y + 3.8:.1f}">{escape(" ".join(block.short))}</text>'
    if block.is_skip:
        box = f'<rect class="pill" x="{grid.centre - 18}" y="{y - 9:.1f}" width="36" height="18" rx="9"/>'
        return _group(block, box + text)
    length = _length(block, grid, most)
    thickness = max(_thickness(block) * _THICKEST_TALL, 16)
    left, top = grid.centre - length / 2, y - thickness / 2
    shape = f'<rect x="{left:.1f}" y="{top:.1f}" width="{length:.1f}" height="{thickness:.1f}" rx="3"/>'
    if block.has_residual:
        ends = (top - 2.5, top + thickness + 2.5)
        path = f"M{grid.centre} {ends[0]:.1f} H{left - 4:.1f} V{ends[1]:.1f} H{grid.centre}"
        shape += f'<path class="residual" d="{path}"/>'
    return _group(block, f'{shape}{text}<text class="width" x="111" y="{y + 3.8:.1f}">{block.out_channels}</text>')


def _length(block: Block, grid: _Grid, most: int) -> float:
    """By the square root: 16 and 320 channels both have to be seen."""
    return grid.shortest + (grid.reach - grid.shortest) * math.sqrt(block.out_channels / most)


def _thickness(block: Block) -> float:
    """As a share of the pitch."""
    if block.expansion is None:
        return 0.62
    return 0.44 + 0.42 * min(block.expansion, _LARGEST_EXPANSION) / _LARGEST_EXPANSION


def _group(block: Block, content: str) -> str:
    title = f"<title>{escape(block.name)}: {escape(block.words)}</title>"
    return f'<g class="block {colour_class(block)}">{title}{content}</g>'


def _side_mark(x: float, y: float, side: int) -> str:
    return f'<text class="side" x="{x:.1f}" y="{y}">{side}×{side}</text>'  # noqa: RUF001 - a real multiplication sign


def _svg(kind: str, size: tuple[float, float], title: str, blocks: Sequence[Block], parts: Sequence[str]) -> Markup:
    width, height = size
    return Markup(
        f'<svg class="network {kind}" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="--natural: {width:.0f}px"><title>{escape(title)}</title>'
        f"<desc>{escape(describe_network(blocks))}</desc>{''.join(parts)}</svg>"
    )


@dataclass(frozen=True)
class Drawing:
    """One network, drawn for wide and for narrow screens."""

    title: str
    record: NetworkRecord | None
    wide: Markup
    tall: Markup


def network_drawings(records: Mapping[str, NetworkRecord]) -> list[Drawing]:
    """The networks that are known, drawn with equal layers in line."""
    return _drawings(
        {title: blocks_of(record.spec) for title, record in records.items() if record.spec is not None}, records
    )


def leading_drawing(run: RunRecord) -> list[Drawing]:
    """While nothing is derived: the searched positions, each with the candidate that is most probable now."""
    if not run.positions or not run.frames:
        return []
    frame = run.frames[-1]
    blocks = []
    for position, shares in zip(run.positions, frame.probabilities, strict=True):
        blocks.append(block_of(position.name, position.candidates[max(range(len(shares)), key=shares.__getitem__)]))
    return _drawings({f"Leading at step {frame.step}": blocks}, {})


def _drawings(blocks: Mapping[str, Sequence[Block]], records: Mapping[str, NetworkRecord]) -> list[Drawing]:
    names = merged_names(list(blocks.values()))
    return [
        Drawing(
            title,
            records.get(title),
            draw_wide(f"{title} network", layers, names),
            draw_tall(f"{title} network", layers, names),
        )
        for title, layers in blocks.items()
    ]
