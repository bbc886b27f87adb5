"""The table a run ends with in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from search.report.charts import NETWORK_TITLES, network_title
from search.report.headline import TOLERANCE
from search.report.missing import unpredicted_note
from search.report.numbers import MISSING, format_change, format_ms, format_percent, relative_gap
from search.report.pace import pace_note
from search.report.recipe import starts_note
from search.report.run_folder import number


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Predicted and measured latency, budget and accuracy of the derived, random and hand-made network, and of the
    baselines that were added.

    Args:
        summary: what ``summary.json`` holds; missing numbers are shown as a dash. Below stands what a reader must know
            to compare them: noisy timings, why a prediction is missing, what counts as meeting the budget, trainings
            that began differently.
    """
    target_ms = number(summary, "target_ms")
    accuracy = summary.get("accuracy") or {}
    baselines_ms = summary.get("measured_ms_baselines") or {}
    predicted_ms = (summary.get("predicted_ms_baselines") or {}) | {"derived": summary.get("predicted_ms")}
    measured_ms = {name: number(baselines_ms, name) for name in dict.fromkeys((*NETWORK_TITLES, *baselines_ms))}
    measured_ms["derived"] = number(summary, "measured_ms")
    unpredicted = [
        network_title(name) for name, ms in measured_ms.items() if ms is not None and number(predicted_ms, name) is None
    ]
    table = Table(
        title=f"Networks for {summary.get('device', 'this device')}",
        title_justify="left",
        caption=_notes(summary, measured_ms, unpredicted),
        caption_justify="left",
    )
    table.add_column("network")
    for heading in ("predicted", "measured", "budget", "against budget", "accuracy"):
        table.add_column(heading, justify="right")
    for name, own_ms in measured_ms.items():
        table.add_row(
            network_title(name),
            format_ms(number(predicted_ms, name)),
            format_ms(own_ms),
            format_ms(target_ms),
            _judged(relative_gap(own_ms, target_ms)),
            format_percent(number(accuracy, name)),
            style="bold" if name == "derived" else None,
        )
    return table


def _notes(
    summary: Mapping[str, Any], measured_ms: Mapping[str, float | None], unpredicted: Sequence[str]
) -> str | None:
    """What qualifies the figures of the table, a line each; None when nothing does."""
    verdicts = summary.get("verdict") or {}
    noisy = [network_title(name) for name in measured_ms if verdicts.get(name) == "noisy"]
    gap = relative_gap(measured_ms["derived"], number(summary, "target_ms"))
    notes = [
        f"Noisy timing, as of a busy device: {', '.join(noisy)}. To time one again, remove its file in verify/ and run "
        f"proxyless verify."
        if noisy
        else None,
        unpredicted_note(unpredicted),
        f"Up to {100 * TOLERANCE:.0f} % over the budget is within the noise of timings and counts as met."
        if gap is not None and 0 < gap <= TOLERANCE
        else None,
        pace_note(
            {network_title(name): number(summary.get("pace") or {}, name) for name in measured_ms},
            {network_title(name): ms for name, ms in measured_ms.items()},
        ),
        starts_note(summary.get("start") or {}),
    ]
    return "\n".join(note for note in notes if note) or None


def _judged(gap: float | None) -> Text:
    if gap is None:
        return Text(MISSING)
    return Text(format_change(gap), style="green" if gap <= TOLERANCE else "red")
