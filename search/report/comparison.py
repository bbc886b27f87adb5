"""Several runs as columns of one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from search.report.cards import device_total_s, recipe_words
from search.report.comparability import comparison_notes, search_of
from search.report.errors import ReportError
from search.report.headline import headline, measured, predicted
from search.report.numbers import MISSING, format_change, format_ms, format_percent, format_seconds, relative_gap
from search.report.recipe import start_of
from search.report.run_folder import RunRecord, number, read_run

Cell = tuple[str, float | None]


def run_title(run: RunRecord) -> str:
    return f"{run.run['data']['name']} on {run.run['device']['name']}"


def titled_runs(run_folders: Sequence[Path]) -> dict[str, RunRecord]:
    """The runs to compare, by the names of their folders, or by their paths where names are equal.

    Raises:
        ReportError: fewer than two runs, or one that cannot be read.
    """
    if len(run_folders) < 2:  # noqa: PLR2004 - one run has its own report
        raise ReportError(f"{len(run_folders)} run to compare; name two or more run folders.")
    runs = [read_run(folder) for folder in run_folders]
    places = [run.folder.resolve() for run in runs]
    if twice := [str(run.folder) for run in runs if places.count(run.folder.resolve()) > 1]:
        raise ReportError(f"One run folder is named twice ({', '.join(twice)}); name two or more different ones.")
    titles = [run.folder.resolve().name for run in runs]
    if len(set(titles)) < len(titles):
        titles = [str(run.folder) for run in runs]
    return dict(zip(titles, runs, strict=True))


def notes_on(run_folders: Sequence[Path]) -> list[str]:
    """What one must know before numbers of these runs are compared.

    Raises:
        ReportError: fewer than two runs, or one that cannot be read.
    """
    return comparison_notes(titled_runs(run_folders))


def comparison_rows(runs: Mapping[str, RunRecord]) -> list[tuple[str, list[Cell]]]:
    """(heading, one (text, value) per run)."""
    searches = {run.folder: search_of(title, runs) for title, run in runs.items()}
    rows: list[tuple[str, Callable[[RunRecord], Cell]]] = [
        ("Device", lambda run: (run.run["device"]["name"], None)),
        ("Data", lambda run: (run.run["data"]["name"], None)),
        ("Space", lambda run: (str((run.run.get("space") or {}).get("name")), None)),
        ("Search", lambda run: (searches[run.folder], None)),
        ("Target", lambda run: (str((run.run.get("target") or {}).get("text")), None)),
        ("Budget", lambda run: _ms(run.target_ms)),
        ("Predicted", lambda run: _ms(predicted(run, "derived"))),
        ("Measured", lambda run: _ms(measured(run, "derived"))),
        ("Against budget", lambda run: _change(relative_gap(measured(run, "derived"), run.target_ms))),
        ("Verdict", lambda run: (headline(run).verdict.text, None)),
        ("Accuracy, derived", lambda run: _accuracy(run, "derived")),
        ("Accuracy, random", lambda run: _accuracy(run, "random")),
        ("Accuracy, hand-made", lambda run: _accuracy(run, "handmade")),
        ("Recipe", lambda run: (recipe_words(run.run.get("training") or {}) or MISSING, None)),
        ("Training, derived", lambda run: (start_of(run.networks["derived"].result) or MISSING, None)),
        ("Training, random and hand-made", _baseline_starts),
        ("Predictor's error on whole networks", _predictor_error),
        ("Time in all", _total_time),
        ("Device in use", lambda run: (format_seconds(device_total_s(run)), device_total_s(run))),
        ("Seed", lambda run: (str(run.run.get("seed")), None)),
    ]
    return [(heading, [cell(run) for run in runs.values()]) for heading, cell in rows]


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
