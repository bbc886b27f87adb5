"""Several runs as columns of one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search.report.cards import device_total_s
from search.report.headline import headline, measured, predicted
from search.report.numbers import MISSING, format_change, format_ms, format_percent, format_seconds, relative_gap
from search.report.recipe import start_of
from search.report.run_folder import RunRecord, number

Cell = tuple[str, float | None]


def run_title(run: RunRecord) -> str:
    return f"{run.run['data']['name']} on {run.run['device']['name']}"


def comparison_rows(runs: Sequence[RunRecord]) -> list[tuple[str, list[Cell]]]:
    """(heading, one (text, value) per run)."""
    rows: list[tuple[str, Callable[[RunRecord], Cell]]] = [
        ("Device", lambda run: (run.run["device"]["name"], None)),
        ("Data", lambda run: (run.run["data"]["name"], None)),
        ("Target", lambda run: (str((run.run.get("target") or {}).get("text")), None)),
        ("Budget", lambda run: _ms(run.target_ms)),
        ("Predicted", lambda run: _ms(predicted(run, "derived"))),
        ("Measured", lambda run: _ms(measured(run, "derived"))),
        ("Against budget", lambda run: _change(relative_gap(measured(run, "derived"), run.target_ms))),
        ("Verdict", lambda run: (headline(run).verdict.text, None)),
        ("Accuracy, derived", lambda run: _accuracy(run, "derived")),
        ("Accuracy, random", lambda run: _accuracy(run, "random")),
        ("Accuracy, hand-made", lambda run: _accuracy(run, "handmade")),
        ("Training, derived", lambda run: (start_of(run.networks["derived"].result) or MISSING, None)),
        ("Training, random and hand-made", _baseline_starts),
        ("Predictor's error on whole networks", _predictor_error),
        ("Time in all", _total_time),
        ("Device in use", lambda run: (format_seconds(device_total_s(run)), device_total_s(run))),
        ("Seed", lambda run: (str(run.run.get("seed")), None)),
    ]
    return [(heading, [cell(run) for run in runs]) for heading, cell in rows]


def _ms(value: float | None) -> Cell:
    return format_ms(value), value


def _change(value: float | None) -> Cell:
    return format_change(value), value


def _accuracy(run: RunRecord, name: str) -> Cell:
    value = run.networks[name].accuracy
    return format_percent(value), value


def _baseline_starts(run: RunRecord) -> Cell:
    starts = [start_of(run.networks[name].result) for name in ("random", "handmade")]
    return ", ".join(dict.fromkeys(start for start in starts if start)) or MISSING, None


def _predictor_error(run: RunRecord) -> Cell:
    value = number((run.report_card or {}).get("networks") or {}, "mape")
    return format_percent(value), value


def _total_time(run: RunRecord) -> Cell:
    seconds = (run.summary or {}).get("seconds") or {}
    total = sum(number(seconds, step) or 0.0 for step in seconds) if seconds else None
    return format_seconds(total), total
