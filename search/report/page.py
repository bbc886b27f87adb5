"""Writes the report: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from search.report import numbers
from search.report.cards import cost_card, network_rows, predictor_rows, run_card
from search.report.charts import (
    NETWORK_TITLES,
    Chart,
    judged_chart,
    network_colour,
    network_title,
    predictor_chart,
    search_charts,
    trade_off_chart,
    training_chart,
    with_points_table,
)
from search.report.comparability import comparison_notes
from search.report.comparison import comparison_rows, run_title, titled_runs
from search.report.errors import ReportError
from search.report.headline import headline, measured
from search.report.heat_map import heat_map
from search.report.layers import layer_table
from search.report.missing import Missing, missing, outdated_note, unpredicted_note
from search.report.network_figure import leading_drawing, network_drawings
from search.report.pace import pace_note
from search.report.path_map import path_map
from search.report.recipe import recipe_sentence, start_of, starts_sentence
from search.report.run_folder import RunRecord, read_run

REPORT_NAME = "report.html"
_RUN_COLOURS = ("--accent", "--series-2", "--series-4", "--series-5", "--series-3")


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder, whatever of the run is there.

    Returns:
        The path of the page.
    Raises:
        ReportError: no run folder, a file in it that cannot be read, or no space for the page.
    """
    run = read_run(run_folder)
    charts, judged = search_charts(run), judged_chart(run)
    records = [(network_title(name), network_colour(name), record) for name, record in run.networks.items()]
    trade_off = trade_off_chart(records, run.target_ms, label_all=True)
    training = training_chart(run)
    predictor = predictor_chart(run.report_card) if run.report_card else None
    derived = run.networks["derived"]
    paths, rows = path_map(run), network_rows(run)
    results = {name: record.result for name, record in run.networks.items()}
    context: dict[str, Any] = {
        "title": run_title(run),
        "run": run,
        "headline": headline(run),
        "outdated": outdated_note([network_title(name) for name in run.run.get("outdated") or ()], run.folder),
        "pace": pace_note(
            {network_title(name): one.verification.pace for name, one in run.networks.items() if one.verification},
            {network_title(name): measured(run, name) for name in run.networks},
        ),
        "drawings": network_drawings({title: run.networks[name] for name, title in NETWORK_TITLES.items()})
        or leading_drawing(run),
        "trade_off": trade_off,
        "judged": judged,
        "recipe": recipe_sentence(results),
        "starts": starts_sentence({name: start_of(result) for name, result in results.items()}),
        "rows": rows,
        "unpredicted": unpredicted_note(
            [row.title for row in rows if row.measured_ms is not None and row.predicted_ms is None]
        ),
        "path_map": paths,
        "search_charts": charts,
        "layers": layer_table(derived.verification.layers) if derived.verification else None,
        "predictor_rows": predictor_rows(run.report_card or {}),
        "predictor": predictor,
        "training": training,
        "costs": cost_card(run),
        "card": run_card(run),
        "missing": _missing_parts(run),
    }
    out = run_folder / REPORT_NAME
    _write(
        out,
        "page.html",
        context,
        [*charts, *_present(trade_off, judged, training, predictor)],
        frames=paths.frames if paths else (),
    )
    return out


def write_comparison(run_folders: Sequence[Path], out: Path, matrix: Mapping[str, Any] | None = None) -> Path:
    """Write one page that shows several runs side by side.

    Args:
        matrix: every derived network measured on every device, where that was done.
    Raises:
        ReportError: fewer than two runs, or one that cannot be read.
    """
    runs = titled_runs(run_folders)
    records = [
        (
            f"{title}, {network_title(name).lower()}",
            _RUN_COLOURS[i % len(_RUN_COLOURS)] if name == "derived" else "--series-3",
            record,
        )
        for i, (title, run) in enumerate(runs.items())
        for name, record in run.networks.items()
    ]
    trade_off = with_points_table(trade_off_chart(records, None, label_all=False))
    context: dict[str, Any] = {
        "title": f"{len(runs)} runs side by side",
        "titles": list(runs),
        "notes": comparison_notes(runs),
        "rows": comparison_rows(runs),
        "drawings": network_drawings({title: run.networks["derived"] for title, run in runs.items()}),
        "trade_off": trade_off,
        "heat_map": None if matrix is None else heat_map(matrix),
    }
    _write(out, "comparison.html", context, [trade_off] if trade_off else [], frames=())
    return out


def _present(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _write(out: Path, template: str, context: dict[str, Any], charts: Sequence[Chart], frames: Sequence[Any]) -> None:
    page = (
        _environment()
        .get_template(template)
        .render(
            **context,
            css=Markup(_part("page.css")),
            script=Markup(_part("page.js")),
            plotly=Markup(get_plotlyjs()) if charts else Markup(""),
            page_data={"charts": [chart.plain() for chart in charts], "frames": frames},
        )
    )
    beside = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(page, encoding="utf-8")
        beside.replace(out)
    except OSError as error:
        with suppress(OSError):  # where nothing can be written nothing lies there
            beside.unlink()
        raise ReportError(f"{out} cannot be written ({error}). Free some space or name another folder.") from error


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("search.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("ms", "percent", "change", "count", "bytes", "whole", "seconds"):
        environment.filters[name] = getattr(numbers, f"format_{name}")
    return environment


def _part(name: str) -> str:
    return resources.files("search.report").joinpath(name).read_text(encoding="utf-8")


def _missing_parts(run: RunRecord) -> dict[str, Missing]:
    """What each section says in place of what it has not."""
    folder = run.folder
    return {
        "network": missing("No network is derived yet (networks/derived.json).", "derive", folder),
        "trade_off": missing("No network is both trained and measured yet.", "verify", folder),
        "paths": missing("The search has not moved its paths yet (search/probabilities.jsonl).", "search", folder),
        "search": missing("The search has not begun (search/events.jsonl).", "search", folder),
        "layers": missing("The derived network is not measured yet (verify/derived.json).", "verify", folder),
        "predictor": missing("No predictor is fitted yet (predictor/report_card.json).", "run … --out", folder),
        "training": missing("No network is trained yet (train/).", "train", folder),
        "exports": missing("Nothing is exported yet (export/export.json).", "export", folder),
        "costs": missing("The run is not finished (summary.json).", "run … --out", folder),
    }
