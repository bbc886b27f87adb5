"""The table a run ends with in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from search.report.charts import NETWORK_TITLES
from search.report.headline import TOLERANCE
from search.report.numbers import MISSING, format_change, format_ms, format_percent, relative_gap
from search.report.recipe import starts_note
from search.report.run_folder import number


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Predicted and measured latency, budget and accuracy of the derived, random and hand-made network.

    Args:
        summary: what ``summary.json`` holds; missing numbers are shown as a dash. Below stands what each training began
            with, when that differs.
    """
    target_ms = number(summary, "target_ms")
    accuracy = summary.get("accuracy") or {}
    baselines_ms = summary.get("measured_ms_baselines") or {}
    predicted_ms = (summary.get("predicted_ms_baselines") or {}) | {"derived": summary.get("predicted_ms")}
    table = Table(
        title=f"Networks for {summary.get('device', 'this device')}",
        title_justify="left",
        caption=starts_note(summary.get("start") or {}),
        caption_justify="left",
    )
    table.add_column("network")
    for heading in ("predicted", "measured", "budget", "against budget", "accuracy"):
        table.add_column(heading, justify="right")
    for name, title in NETWORK_TITLES.items():
        is_derived = name == "derived"
        measured_ms = number(summary, "measured_ms") if is_derived else number(baselines_ms, name)
        table.add_row(
            title,
            format_ms(number(predicted_ms, name)),
            format_ms(measured_ms),
            format_ms(target_ms),
            _judged(relative_gap(measured_ms, target_ms)),
            format_percent(number(accuracy, name)),
            style="bold" if is_derived else None,
        )
    return table


def _judged(gap: float | None) -> Text:
    if gap is None:
        return Text(MISSING)
    return Text(format_change(gap), style="green" if gap <= TOLERANCE else "red")
