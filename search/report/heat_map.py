"""The specialisation matrix as a heat map: each network on each device, coloured within its column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.report.numbers import format_ms, format_percent

PALE_AT = 0.6  # a network that takes this much longer than the fastest is left without colour
STRONG = 0.62


@dataclass(frozen=True)
class HeatCell:
    """``share`` is 1 for the fastest of the column and falls to 0; ``is_own``: the network was found for it."""

    value: float
    text: str
    slower: str
    share: float
    is_own: bool

    @property
    def is_strong(self) -> bool:
        return self.share > STRONG


@dataclass(frozen=True)
class HeatRow:
    name: str
    accuracy: float
    accuracy_text: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class HeatMap:
    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    findings: tuple[str, ...]


def heat_map(matrix: Mapping[str, Any]) -> HeatMap:
    """From what ``proxyless compare`` measured (its JSON)."""
    latencies = matrix["latency_ms"]
    fastest = [min(column) for column in zip(*latencies, strict=True)]
    rows = tuple(
        HeatRow(
            name,
            matrix["accuracy"][index],
            format_percent(matrix["accuracy"][index]),
            tuple(
                _cell(value, best, column == matrix["own"][index])
                for value, best, column in zip(latencies[index], fastest, matrix["columns"], strict=True)
            ),
        )
        for index, name in enumerate(matrix["runs"])
    )
    return HeatMap(tuple(matrix["columns"]), rows, tuple(matrix["findings"]))


def _cell(value: float, best: float, is_own: bool) -> HeatCell:
    slower = value / best - 1
    text = "fastest" if slower == 0 else f"+{100 * slower:.0f}\u00a0%"
    return HeatCell(value, format_ms(value), text, max(0.0, 1 - slower / PALE_AT), is_own)
