"""Reading a report, as it was written or as a browser left it: its words, its numbers by their element, its plots."""

from __future__ import annotations

import re

ALL_PLOTS = {"trade-off", "latency", "multiplier", "entropy", "loss", "judged", "predictor", "training"}
READY = "inner.documentElement.dataset.plots !== undefined"
WIDTHS = (
    "[inner.documentElement.scrollWidth, ...[...inner.querySelectorAll('.main-svg')]"
    ".map((svg) => svg.getBoundingClientRect().right)]"
)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    assert found, f"no section #{name}"
    return found[0]


def text_of(fragment: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", fragment).replace("\u00a0", " ").split())


def data_value(dom: str, element_id: str) -> float:
    """The machine-readable value of the first number inside the element."""
    found = re.search(rf'id="{element_id}".*?<data value="([^"]+)"', dom, re.DOTALL)
    assert found, f"no number in #{element_id}"
    return float(found[1])


def row_values(dom: str, row_id: str) -> list[float]:
    """All machine-readable values of a table's row, in order."""
    row = re.search(rf'<tr id="{row_id}".*?</tr>', dom, re.DOTALL)
    assert row, f"no row #{row_id}"
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', row[0])]


def path_percents(dom: str) -> list[int]:
    """The probabilities that the path map shows, row by row."""
    table = re.search(r'<table id="path-map">.*?</table>', dom, re.DOTALL)
    assert table, "no path map"
    return [int(text) for text in re.findall(r'<td class="cell[^>]*>(\d+)</td>', table[0])]


def path_margins(dom: str) -> list[float]:
    """The machine-readable margin of each position."""
    return [float(value) for value in re.findall(r'<td class="margin"><data value="([^"]+)"', dom)]


def drawn_plots(dom: str) -> set[str]:
    """The plots that hold at least one drawn trace."""
    parts = re.split(r'id="plot-([a-z-]+)"', dom)
    return {name for name, content in zip(parts[1::2], parts[2::2]) if re.search(r'class="trace scatter', content)}
