"""Path probabilities over time: a table that can be scrubbed, and a stream of each position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search.report.blocks import block_of
from search.report.network_figure import colour_class
from search.report.numbers import thin
from search.report.run_folder import Position, ProbabilityFrame, RunRecord

_FRAME_LIMIT = 80
_STREAM_POINTS = 48
_STREAM_SIZE = (150, 30)
_WIDE_EXPANSION = 4.5


@dataclass(frozen=True)
class Cell:
    """A candidate of a position; ``index`` is None where the position does not have this candidate."""

    index: int | None
    probability: float
    is_chosen: bool


@dataclass(frozen=True)
class Row:
    """A position. ``entropy`` is a share of the largest possible; ``margin`` is how far the most probable candidate
    leads the next."""

    name: str
    cells: tuple[Cell, ...]
    entropy: float
    margin: float
    stream: Markup


@dataclass(frozen=True)
class PathMap:
    """The last frame as a table, and all frames for the slider."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    frames: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...]
    is_derived: bool


def path_map(run: RunRecord) -> PathMap | None:
    """None when the search has not begun its second phase."""
    if not run.positions or not run.frames:
        return None
    labels = tuple(dict.fromkeys(label for position in run.positions for label in position.labels))
    frames = thin(run.frames, _FRAME_LIMIT)
    return PathMap(
        labels=labels,
        rows=tuple(_row(run, index, labels, frames) for index in range(len(run.positions))),
        frames=tuple((frame.step, _rounded(frame)) for frame in frames),
        is_derived=run.choices is not None,
    )


def entropy_share(probabilities: Sequence[float]) -> float:
    """Entropy as a share of the largest possible: 1 undecided, 0 decided."""
    if len(probabilities) < 2:  # noqa: PLR2004 - nothing to choose
        return 0.0
    return -sum(p * math.log(p) for p in probabilities if p > 0) / math.log(len(probabilities))


def margin_of(probabilities: Sequence[float]) -> float:
    """The largest probability less the next; a lone candidate leads by all it has."""
    first, second = sorted((*probabilities, 0.0), reverse=True)[:2]
    return first - second


def _certainty(run: RunRecord, index: int, last: Sequence[float]) -> tuple[float, float]:
    """(entropy as a share, margin) of a position: as the derivation kept them, or else those of the last frame, whose
    probabilities are rounded."""
    kept = run.derivation or {}
    entropies, margins = (kept.get(name) or () for name in ("entropy", "margin"))
    if len(entropies) != len(run.positions) or len(margins) != len(run.positions):
        return entropy_share(last), margin_of(last)
    return float(entropies[index]) / math.log(max(len(last), 2)), float(margins[index])


def _row(run: RunRecord, index: int, labels: Sequence[str], frames: Sequence[ProbabilityFrame]) -> Row:
    position = run.positions[index]
    last = frames[-1].probabilities[index]
    chosen = run.choices[index] if run.choices else max(range(len(last)), key=last.__getitem__)
    cells = []
    for label in labels:
        choice = position.labels.index(label) if label in position.labels else None
        cells.append(Cell(choice, 0.0 if choice is None else last[choice], choice == chosen))
    history = [frame.probabilities[index] for frame in thin(frames, _STREAM_POINTS)]
    entropy, margin = _certainty(run, index, last)
    return Row(position.name, tuple(cells), entropy, margin, _stream(position, history))


def _rounded(frame: ProbabilityFrame) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(p, 3) for p in row) for row in frame.probabilities)


def _stream(position: Position, history: Sequence[Sequence[float]]) -> Markup:
    """Stacked shares of the candidates over time, in the colours of the network's drawing."""
    width, height = _STREAM_SIZE
    xs = [width * i / max(len(history) - 1, 1) for i in range(len(history))]
    floor = [0.0] * len(history)
    areas = []
    for choice, (label, op) in enumerate(zip(position.labels, position.candidates, strict=True)):
        ceiling = [low + moment[choice] for low, moment in zip(floor, history, strict=True)]
        upper = [f"{x:.1f},{height * (1 - y):.1f}" for x, y in zip(xs, ceiling, strict=True)]
        lower = [f"{x:.1f},{height * (1 - y):.1f}" for x, y in zip(xs, floor, strict=True)]
        block = block_of(position.name, op)
        tone = " light" if block.expansion is not None and block.expansion < _WIDE_EXPANSION else ""
        areas.append(
            f'<polygon class="{colour_class(block)}{tone}" points="{" ".join(upper + lower[::-1])}">'
            f"<title>{escape(label)}</title></polygon>"
        )
        floor = ceiling
    first = ", ".join(f"{label} {100 * p:.0f} %" for label, p in zip(position.labels, history[-1], strict=True))
    return Markup(
        f'<svg class="stream" role="img" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f"<title>{escape(position.name)}, at the end: {escape(first)}</title>{''.join(areas)}"
        f'<line class="now" x1="{width}" x2="{width}" y1="0" y2="{height}"/></svg>'
    )
