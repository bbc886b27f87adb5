"""A report card as one HTML page that needs nothing else: tables and predicted-against-measured plots."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from typing import Any

from latency_model.network_latency import Provenance, format_ms

_SIDE, _MARGIN = 420, 56
_MOST_TICKS = 6
_TICK_STEPS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
_STYLE = """
:root { --ink: #1d2733; --soft: #5b6b7c; --line: #d8dfe6; --mark: #1f6feb; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa7b4; --line: #364250; --mark: #6cb0ff; --paper: #11161c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, figcaption { color: var(--soft); } figure { margin: 0; } .plots { display: flex; flex-wrap: wrap; gap: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
.worst td:first-child { overflow-wrap: anywhere; white-space: normal; }
@media (max-width: 40rem) { th, td { font-size: 11px; padding: .25rem; }
  .worst tr { display: grid; grid-template-columns: repeat(3, 1fr); border-bottom: 1px solid var(--line); }
  .worst td:first-child { grid-column: 1 / -1; } .worst th:first-child { display: none; }
  .worst th, .worst td { border: none; } }
.scroll { overflow-x: auto; } figure { flex: 0 1 26rem; min-width: 0; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; }
svg .frame { stroke: var(--line); fill: none; }
svg .even { stroke: var(--soft); stroke-dasharray: 4 3; } svg .bar { stroke: var(--mark); opacity: .35; }
svg .dot { fill: var(--mark); opacity: .8; }
"""


def report_page(card: Mapping[str, Any], provenance: Provenance, formula: str) -> str:
    """The page.

    Args:
        card: as ``NetworkLatency.report_card`` holds it.
        formula: how the predictor adds up a network, in words.
    """
    sections = [
        f"<h1>How wrong is this predictor?</h1><p>{_text(provenance)}<br>{_text(formula)}</p>",
        "<h2>Whole networks</h2>",
        f"<p>{_text(card['method'])}</p>",
        _figures_table("networks", _rows_of(card, "networks")) if "networks" in card else "",
        '<div class="plots">',
        _plot("Whole networks", card["network_points"]) if "network_points" in card else "",
        _plot("Single ops, each predicted without itself", card["op_points"]) if "op_points" in card else "",
        "</div>",
        _worst_table("Worst networks", card.get("worst_networks", [])),
        "<h2>Single ops</h2>",
        f"<p>{_text(card.get('ops_method', 'not judged'))}. {_text(card.get('model_reason', ''))}</p>",
    ]
    if "coverage_note" in card:
        sections.insert(4, f"<p>{_text(card['coverage_note'])}</p>")
    if "ops_coverage_note" in card:
        sections.append(f"<p>{_text(card['ops_coverage_note'])}</p>")
    if "ops" in card:
        sections += [_figures_table("ops", _rows_of(card, "ops")), _worst_table("Worst ops", card["worst_ops"])]
    if "drift" in card:
        sections += ["<h2>Drift and noise</h2>", f"<p>{_text(card['drift'])}</p>"]
    if "noise" in card:
        sections.append(f"<p>{_text(card['noise'])}</p>")
    body = "\n".join(sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Latency predictor: report card</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>\n'
    )


def _rows_of(card: Mapping[str, Any], what: str) -> dict[str, Mapping[str, Any]]:
    rows = {"all": card[what]}
    rows |= card.get(f"{what}_by_kind", {})
    rows |= card.get(f"{what}_by_size", {})
    if f"{what}_flops_baseline" in card:
        rows["by MACs alone"] = card[f"{what}_flops_baseline"]
    return rows


def _figures_table(what: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(
        f"<th>{name}</th>"
        for name in ("", "count", "MAPE", "within 5 %", "within 10 %", "Spearman", "coverage", "expected", "half-width")
    )
    body = "".join(f"<tr><td>{_text(name)}</td>{_figure_cells(row)}</tr>" for name, row in rows.items())
    return f'<div class="scroll"><table id="figures-{what}"><tr>{head}</tr>{body}</table></div>'


def _figure_cells(row: Mapping[str, Any]) -> str:
    formats = {"count": "{}", "mape": "{:.1%}", "within_5_percent": "{:.1%}", "within_10_percent": "{:.1%}"}
    formats |= {"spearman": "{:.3f}", "coverage": "{:.1%}"}
    cells = [_number(row[name], form.format) for name, form in formats.items()]
    cells += [_band(row), _number(row["mean_half_width"], "{:.1%}".format)]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _band(row: Mapping[str, Any]) -> str:
    """Where the coverage falls 19 times in 20 when the intervals hold what they promise; a miss stands out."""
    band = row.get("coverage_band")
    if band is None or row["coverage"] is None:
        return "-"
    low, high = band
    text = f"{low:.0%}-{high:.0%}"
    return f"<strong>{text}: too few</strong>" if row["coverage"] < low else text


def _number(value: float | None, write: Callable[[float], str]) -> str:
    """A number as people read it, with the whole of it for programs; missing is a dash."""
    return "-" if value is None else f'<data value="{value!r}">{write(value)}</data>'


def _worst_table(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    formats: dict[str, Callable[[float], str]] = {"measured_ms": format_ms, "predicted_ms": format_ms}
    formats |= {"error": "{:+.1%}".format}
    body = "".join(
        f"<tr><td>{_text(row['name']).replace(',', ',<wbr>')}</td>"
        + "".join(f"<td>{_number(row[name], write)}</td>" for name, write in formats.items())
        + "</tr>"
        for row in rows
    )
    head = "<tr><th></th><th>measured ms</th><th>predicted ms</th><th>error</th></tr>"
    return f'<h3>{_text(title)}</h3><div class="scroll"><table class="worst">{head}{body}</table></div>'


def _plot(title: str, points: Mapping[str, list[float]]) -> str:
    """Predicted against measured on logarithmic axes, each with its interval; the dashes are equality."""
    measured, predicted = points["measured_ms"], points["predicted_ms"]
    low = min([*measured, *predicted]) / 1.1
    high = max([*measured, *predicted]) * 1.1

    def place(value: float) -> float:
        share = math.log(min(max(value, low), high) / low) / math.log(high / low)
        return _MARGIN + share * (_SIDE - 2 * _MARGIN)

    marks = []
    for m, p, bottom, top in zip(measured, predicted, points["low_ms"], points["high_ms"], strict=True):
        x = place(m)
        ends = f'y1="{_SIDE - place(bottom):.1f}" y2="{_SIDE - place(top):.1f}"'
        bar = f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
        tip = f"<title>measured {format_ms(m)} ms, predicted {format_ms(p)} ms</title>"
        marks.append(f'{bar}<circle class="dot" cx="{x:.1f}" cy="{_SIDE - place(p):.1f}" r="3">{tip}</circle>')
    inner = _SIDE - 2 * _MARGIN
    ticks = "".join(_tick(value, place(value)) for value in _tick_values(low, high))
    return (
        f'<figure><svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{_text(title)}">'
        f'<rect class="frame" x="{_MARGIN}" y="{_MARGIN}" width="{inner}" height="{inner}"/>'
        f'<line class="even" x1="{_MARGIN}" y1="{_SIDE - _MARGIN}" x2="{_SIDE - _MARGIN}" y2="{_MARGIN}"/>'
        f"{''.join(marks)}{ticks}"
        f'<text x="{_SIDE / 2}" y="{_SIDE - 14}" text-anchor="middle">measured ms</text>'
        f'<text transform="translate(10 {_SIDE / 2}) rotate(-90)" text-anchor="middle">predicted ms</text>'
        f"</svg><figcaption>{_text(title)}</figcaption></figure>"
    )


def _tick_values(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: as many as stay apart, both ends where there are none between."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _TICK_STEPS:
        values = [step * 10.0**decade for decade in decades for step in steps]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= _MOST_TICKS:
            return inside if len(inside) > 1 else [low, high]
    return [low, high]


def _tick(value: float, place: float) -> str:
    label = f"{value:.3g}"
    return (
        f'<text x="{place:.1f}" y="{_SIDE - _MARGIN + 16}" text-anchor="middle">{label}</text>'
        f'<text x="{_MARGIN - 6}" y="{_SIDE - place + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _text(value: object) -> str:
    return html.escape(str(value))
