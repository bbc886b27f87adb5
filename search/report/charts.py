"""Charts as plain data: page.js turns them into plots, and each has a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from search.report.numbers import MISSING, format_percent, relative_gap, significant, thin
from search.report.run_folder import Json, NetworkRecord, RunRecord, number

_POINT_LIMIT = 240
_TABLE_ROWS = 10
_WIDE_SPAN = 5.0
"""Latencies of several devices that differ by more than this factor would crowd on an even scale."""
NETWORK_TITLES = {"derived": "Derived", "random": "Random", "handmade": "Hand-made"}
Points = tuple[float | None, ...]


@dataclass(frozen=True)
class Series:
    """One line or cloud. ``colour`` is the name of a CSS variable; ``style``: line, steps,
    points (few, large) or cloud (many, small)."""

    name: str
    colour: str
    x: Points
    y: Points
    style: str = "line"
    texts: tuple[str, ...] = ()
    error: tuple[Points, Points] | None = None  # below and above, along x


@dataclass(frozen=True)
class Chart:
    """One plot. ``bands`` shade stretches of x, ``levels`` are of y, ``walls`` of x; ``note`` stands below. With
    ``x_log`` equal factors of x are equally far apart."""

    id: str
    title: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    y_percent: bool = False
    x_log: bool = False
    is_square: bool = False
    walls: tuple[tuple[float, str], ...] = ()
    levels: tuple[tuple[float, str], ...] = ()
    bands: tuple[tuple[float, float, str], ...] = ()
    diagonal: tuple[float, float] | None = None
    table: tuple[tuple[str, ...], ...] = ()
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def search_charts(run: RunRecord) -> list[Chart]:
    """Latency against the budget, multiplier, entropy and losses over the search."""
    events = list(run.events)
    steps = [record for record in events if number(record, "expected_ms") is not None]
    charts = []
    if steps:
        latency = (
            _trace("Expected", "--series-2", steps, "expected_ms"),
            _trace("Most probable network", "--accent", steps, "derived_ms", style="steps"),
        )
        levels = ((run.target_ms, "budget"),) if run.target_ms is not None else ()
        multiplier = (_trace("Multiplier", "--accent", steps, "multiplier"),)
        entropy = (_trace("Entropy", "--accent", steps, "entropy"),)
        charts += [
            Chart("latency", "Latency against the budget", "step", "ms", latency, levels=levels),
            Chart("multiplier", "Latency multiplier", "step", "multiplier", multiplier),
            Chart("entropy", "How undecided the paths are", "step", "entropy / maximum", entropy, y_percent=True),
        ]
    losses = tuple(
        _mean_trace(name, colour, events, key)
        for name, colour, key in (
            ("Training, one path", "--series-2", "loss"),
            ("Held out", "--accent", "held_out_loss"),
        )
        if any(number(record, key) is not None for record in events)
    )
    if losses:
        charts.append(Chart("loss", "Loss of the supernet", "step", "cross-entropy", losses))
    return [_with_table(replace(chart, bands=_warmup_band(events))) for chart in charts]


def training_chart(run: RunRecord) -> Chart | None:
    """Held-out accuracy of each network while it was trained."""
    series = []
    for name, record in run.networks.items():
        points = [event for event in record.train_events if number(event, "held_out_accuracy") is not None]
        if points:
            series.append(
                Series(
                    network_title(name),
                    network_colour(name),
                    tuple(number(event, "epoch") for event in thin(points, _POINT_LIMIT)),
                    tuple(number(event, "held_out_accuracy") for event in thin(points, _POINT_LIMIT)),
                )
            )
    if not series:
        return None
    return _with_table(
        Chart(
            "training",
            "Held-out accuracy while training",
            "passes over the data",
            "accuracy",
            tuple(series),
            y_percent=True,
        )
    )


def trade_off_chart(
    records: Sequence[tuple[str, str, NetworkRecord]], target_ms: float | None, *, label_all: bool
) -> Chart | None:
    """Accuracy against measured latency.

    Args:
        records: (name, colour, record) of each network.
        label_all: write every name beside its point, not only those of derived networks.
    """
    points = [
        Series(
            name,
            colour,
            (record.verification.measured_ms,),
            (record.accuracy,),
            style="points",
            texts=(name,) if label_all or record.name == "derived" else (),
        )
        for name, colour, record in records
        if record.accuracy is not None and record.verification and record.verification.measured_ms is not None
    ]
    if not points:
        return None
    walls = ((target_ms, "budget"),) if target_ms is not None else ()
    latencies = [x for point in points for x in point.x if x is not None]
    x_log = 0 < _WIDE_SPAN * min(latencies) < max(latencies)
    return Chart(
        "trade-off",
        "Accuracy against measured latency",
        "measured latency, ms" + (" (logarithmic)" if x_log else ""),
        "test accuracy",
        tuple(points),
        y_percent=True,
        x_log=x_log,
        walls=walls,
    )


def with_points_table(chart: Chart | None) -> Chart | None:
    """The chart with a table of its points, for a page that shows them nowhere else."""
    if chart is None:
        return None
    rows = [
        (series.name, significant(x), format_percent(y))
        for series in chart.series
        for x, y in zip(series.x, series.y, strict=True)
        if x is not None
    ]
    return replace(chart, table=(("network", chart.x_title, chart.y_title), *rows))


def judged_chart(run: RunRecord) -> Chart | None:
    """The networks that were judged to derive one, the best of each latency joined by a line."""
    derivation = run.derivation or {}
    judged = sorted(
        (
            (latency_ms, accuracy)
            for one in derivation.get("judged") or ()
            if (latency_ms := number(one, "predicted_ms")) is not None
            and (accuracy := number(one, "held_out_accuracy")) is not None
        ),
        key=lambda point: (point[0], -point[1]),  # of equally fast ones only the best is on the line
    )
    if not judged:
        return None
    front: list[tuple[float, float]] = []
    for latency_ms, accuracy in judged:
        if not front or accuracy > front[-1][1]:
            front.append((latency_ms, accuracy))
    chosen = derivation.get("derived") or {}
    series = (
        _cloud("Judged", "--series-3", judged),
        Series("Best up to this latency", "--series-2", *_columns(front), style="steps"),
        Series(
            "Derived", "--accent", (number(chosen, "predicted_ms"),), (number(chosen, "held_out_accuracy"),), "points"
        ),
    )
    rows = [("predicted, ms", "held-out accuracy"), *((significant(x), format_percent(y)) for x, y in front)]
    return Chart(
        "judged",
        "Networks judged to derive one, with the supernet's weights",
        "predicted latency, ms",
        "held-out accuracy",
        series,
        y_percent=True,
        table=tuple(rows),
        note="Chosen by held-out loss, not by accuracy, among those that met the budget on the device as well: the "
        "derived network need not lie on the line.",
    )


def _cloud(name: str, colour: str, points: Sequence[tuple[float, float]]) -> Series:
    return Series(name, colour, *_columns(points), style="cloud")


def _columns(points: Sequence[tuple[float, float]]) -> tuple[Points, Points]:
    return tuple(x for x, _ in points), tuple(y for _, y in points)


def predictor_chart(card: Json) -> Chart | None:
    """Predicted against measured latency of networks the predictor had not seen."""
    points = card.get("network_points") or {}
    measured, predicted = points.get("measured_ms") or [], points.get("predicted_ms") or []
    if not measured or len(measured) != len(predicted):
        return None
    low, high = points.get("low_ms"), points.get("high_ms")
    error = None
    if low and high:
        error = (
            tuple(p - edge for p, edge in zip(predicted, low, strict=True)),
            tuple(edge - p for p, edge in zip(predicted, high, strict=True)),
        )
    series = Series("Networks", "--accent", tuple(predicted), tuple(measured), style="cloud", error=error)
    ends = (min(*measured, *predicted), max(*measured, *predicted))
    rows = [("predicted, ms", "measured, ms", "measured is higher by")]
    for guess, truth in thin(sorted(zip(predicted, measured, strict=True)), _TABLE_ROWS):
        rows.append((significant(guess), significant(truth), format_percent(relative_gap(truth, guess))))
    return Chart(
        "predictor",
        "Whole networks: predicted against measured",
        "predicted, ms",
        "measured, ms",
        (series,),
        is_square=True,
        diagonal=ends,
        table=tuple(rows),
    )


def network_colour(name: str) -> str:
    """Of the derived network, the random ones, and the hand-made ones."""
    return {"derived": "--accent", "handmade": "--series-2"}.get(name.partition("-")[0], "--series-3")


def network_title(name: str) -> str:
    """``random-2`` is "Random 2", ``handmade-k5-e3`` "Hand-made k5 e3"."""
    first, *more = name.split("-")
    return " ".join([NETWORK_TITLES[first], *more])


def _trace(name: str, colour: str, records: Sequence[Json], key: str, *, style: str = "line") -> Series:
    kept = thin(records, _POINT_LIMIT)
    return Series(name, colour, tuple(number(r, "step") for r in kept), tuple(number(r, key) for r in kept), style)


def _mean_trace(name: str, colour: str, records: Sequence[Json], key: str) -> Series:
    """Means of neighbouring steps: the loss of one batch and one path is mostly noise."""
    known = [(r["step"], value) for r in records if (value := number(r, key)) is not None]
    per_mean = max(len(known) // 60, 1)
    groups = [known[start : start + per_mean] for start in range(0, len(known), per_mean)]
    return Series(
        name,
        colour,
        tuple(sum(step for step, _ in group) / len(group) for group in groups),
        tuple(sum(value for _, value in group) / len(group) for group in groups),
    )


def _warmup_band(events: Sequence[Json]) -> tuple[tuple[float, float, str], ...]:
    warmup = [record["step"] for record in events if record.get("phase") == "warmup"]
    if not warmup:
        return ()
    after = [record["step"] for record in events if record["step"] > warmup[-1]]
    return ((warmup[0], after[0] if after else warmup[-1], "warm-up"),)


def _with_table(chart: Chart) -> Chart:
    """A table of some of the numbers, one row for each of a few x of the first series."""
    first = chart.series[0]
    rows = [(chart.x_title, *(series.name for series in chart.series))]
    for x in thin([x for x in first.x if x is not None], _TABLE_ROWS):
        rows.append((significant(x), *(_at(series, x, is_percent=chart.y_percent) for series in chart.series)))
    return replace(chart, table=tuple(rows))


def _at(series: Series, x: float, *, is_percent: bool) -> str:
    """The value at the nearest x."""
    known = [(abs(a - x), b) for a, b in zip(series.x, series.y, strict=True) if a is not None and b is not None]
    if not known:
        return MISSING
    value = min(known)[1]
    return format_percent(value) if is_percent else significant(value)
