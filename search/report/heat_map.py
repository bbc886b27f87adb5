"""The specialisation matrix as a heat map: each network on each device, coloured within its column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.report.numbers import format_ms, format_percent

PALE_AT = 0.6  # a network that takes this much longer than the fastest is left without colour
STRONG = 0.62


@dataclass(frozen=True)
class HeatCell:
    """``share`` is 1 for the lowest of the column and falls to 0; ``is_own``: the network was found for it.
    ``over_budget`` says by how much it exceeds what is allowed there; it is empty where it does not."""

    value: float
    text: str
    note: str
    share: float
    is_own: bool
    over_budget: str

    @property
    def is_strong(self) -> bool:
        return self.share > STRONG


@dataclass(frozen=True)
class HeatRow:
    """``data``: of which images the accuracy is, where the rows differ in that; else empty."""

    name: str
    accuracy: float
    accuracy_text: str
    data: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class HeatMap:
    """``columns`` are (device, what runs the models there, its budget where it has one)."""

    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[HeatRow, ...]
    findings: tuple[str, ...]

    @property
    def has_any_over_budget(self) -> bool:
        return any(cell.over_budget for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class _Timed:
    latency_ms: float
    spread: float | None
    verdict: str


def heat_map(matrix: Mapping[str, Any]) -> HeatMap:
    """From what ``proxyless compare`` measured (its JSON)."""
    timed = [
        [_Timed(*cell) for cell in zip(*row, strict=True)]
        for row in zip(matrix["latency_ms"], matrix["spread"], matrix["verdict"], strict=True)
    ]
    columns = list(zip(*timed, strict=True))
    is_mixed = len(set(matrix["data"])) > 1
    rows = tuple(
        HeatRow(
            name,
            matrix["accuracy"][index],
            format_percent(matrix["accuracy"][index]),
            matrix["data"][index] if is_mixed else "",
            tuple(
                _cell(cell, column, over, is_own=label == matrix["own"][index])
                for cell, column, over, label in zip(
                    timed[index], columns, matrix["over_budget"][index], matrix["columns"], strict=True
                )
            ),
        )
        for index, name in enumerate(matrix["runs"])
    )
    budgets = ["" if ms is None else f"budget {format_ms(ms)}" for ms in matrix["device_budget_ms"]]
    heads = tuple(zip(matrix["columns"], matrix["details"], budgets, strict=True))
    return HeatMap(heads, rows, tuple(matrix["findings"]))


def _cell(cell: _Timed, column: Sequence[_Timed], over: Mapping[str, Any] | None, *, is_own: bool) -> HeatCell:
    best = min(column, key=lambda other: other.latency_ms)
    slower = cell.latency_ms / best.latency_ms - 1
    note = _standing(cell, best, column) if cell.verdict == "accepted" else f"{_standing(cell, best, column)}, noisy"
    share = max(0.0, 1 - slower / PALE_AT)
    return HeatCell(cell.latency_ms, format_ms(cell.latency_ms), note, share, is_own, _over_text(over))


def _over_text(over: Mapping[str, Any] | None) -> str:
    if over is None:
        return ""
    text = f"{100 * over['share']:.0f}\u00a0% over budget"
    return f"{text}, maybe noise" if over["may_be_noise"] else text


def _standing(cell: _Timed, best: _Timed, column: Sequence[_Timed]) -> str:
    """Only what lies further apart than the sessions of a timing do is called faster."""
    if cell is not best:
        slower = f"+{100 * (cell.latency_ms / best.latency_ms - 1):.0f}\u00a0%"
        if cell.spread is None or best.spread is None:
            return f"{slower}, noise unknown"
        return slower if _is_apart(cell, best) else f"{slower}, within noise"
    return "fastest" if all(_is_apart(other, best) for other in column if other is not best) else "lowest"


def _is_apart(one: _Timed, best: _Timed) -> bool:
    if one.spread is None or best.spread is None:
        return False
    return one.latency_ms / best.latency_ms - 1 > max(one.spread, best.spread)
