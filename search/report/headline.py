"""The first thing on the page: what came out, in words, in large numbers and on a ruler."""

from __future__ import annotations

from dataclasses import dataclass

from search.report.charts import NETWORK_TITLES, network_colour
from search.report.numbers import format_change, format_ms, format_percent, relative_gap
from search.report.recipe import start_of, starts_note
from search.report.run_folder import NetworkRecord, RunRecord, Verification, number

TOLERANCE = 0.03  # how far above the budget a measurement may lie and still count as noise


@dataclass(frozen=True)
class Verdict:
    """``tone``: good, warn, bad or open."""

    text: str
    tone: str


@dataclass(frozen=True)
class Figure:
    """One large number; ``value`` is the machine's, ``text`` the person's."""

    name: str
    value: float | None
    text: str
    note: str


@dataclass(frozen=True)
class Mark:
    """Something on the latency ruler; places are percent of its length."""

    name: str
    colour: str
    place: float
    text: str


@dataclass(frozen=True)
class Ruler:
    marks: tuple[Mark, ...]
    budget: Mark | None
    interval: tuple[float, float] | None
    words: str


@dataclass(frozen=True)
class Headline:
    verdict: Verdict
    sentence: str
    figures: tuple[Figure, ...]
    ruler: Ruler | None


def headline(run: RunRecord) -> Headline:
    derived = run.networks["derived"]
    measured_ms = measured(run, "derived")
    gap = relative_gap(measured_ms, run.target_ms)
    return Headline(_verdict(gap), _sentence(run, derived, measured_ms, gap), _figures(run, derived), _ruler(run))


def measured(run: RunRecord, name: str) -> float | None:
    """From the verification, or else from the summary."""
    verification = run.networks[name].verification
    if verification and verification.measured_ms is not None:
        return verification.measured_ms
    summary = run.summary or {}
    return (
        number(summary, "measured_ms")
        if name == "derived"
        else number(summary.get("measured_ms_baselines") or {}, name)
    )


def predicted(run: RunRecord, name: str) -> float | None:
    verification = run.networks[name].verification
    if verification and verification.predicted_ms is not None:
        return verification.predicted_ms
    return number(run.summary or {}, "predicted_ms") if name == "derived" else None


def _interval(run: RunRecord) -> tuple[float, float] | None:
    verification = run.networks["derived"].verification
    if verification and verification.interval_ms:
        return verification.interval_ms
    given = (run.summary or {}).get("predicted_interval_ms")
    return (float(given[0]), float(given[1])) if given else None


def _verdict(gap: float | None) -> Verdict:
    if gap is None:
        return Verdict("Not measured yet", "open")
    if gap <= 0:
        return Verdict("Meets the budget", "good")
    if gap <= TOLERANCE:
        return Verdict(f"Within {100 * TOLERANCE:.0f} % of the budget", "warn")
    return Verdict("Over the budget", "bad")


def _sentence(run: RunRecord, derived: NetworkRecord, measured_ms: float | None, gap: float | None) -> str:
    device, data = run.run["device"]["name"], run.run["data"]["name"]
    if measured_ms is None:
        budget = "" if run.target_ms is None else f" that takes at most {format_ms(run.target_ms)}"
        return f"This run looks for a network for {data}{budget} on {device}."
    side = "under" if (gap or 0) <= 0 else "over"
    text = f"The derived network takes {format_ms(measured_ms)} on {device}"
    if gap is not None:
        text += f", {format_percent(abs(gap))} {side} the budget"
    if derived.accuracy is not None:
        text += f", and gets {format_percent(derived.accuracy)} of the {data} test images right"
    return text + "."


def _figures(run: RunRecord, derived: NetworkRecord) -> tuple[Figure, ...]:
    measured_ms, predicted_ms = measured(run, "derived"), predicted(run, "derived")
    interval = _interval(run)
    target = run.run.get("target") or {}
    reference_ms = number(target, "reference_ms")
    budget_note = str(target.get("text") or "")
    if reference_ms is not None:
        budget_note += f", of {format_ms(reference_ms)}"
    accuracy_note = _accuracies_beside(run) or "test images, looked at once"
    if note := starts_note({name: start_of(record.result) for name, record in run.networks.items()}):
        accuracy_note += f". {note}"
    return (
        Figure("Budget", run.target_ms, format_ms(run.target_ms), budget_note),
        Figure(
            "Predicted",
            predicted_ms,
            format_ms(predicted_ms),
            f"{format_ms(interval[0])} to {format_ms(interval[1])}" if interval else "",
        ),
        Figure(
            "Measured",
            measured_ms,
            format_ms(measured_ms),
            f"{format_change(relative_gap(measured_ms, predicted_ms))} from predicted"
            + _noise(run, derived.verification)
            if measured_ms is not None
            else "",
        ),
        Figure("Test accuracy", derived.accuracy, format_percent(derived.accuracy), accuracy_note),
    )


def _noise(run: RunRecord, check: Verification | None) -> str:
    if check is not None and check.verdict == "noisy":
        return "; the timing was noisy"
    if number(run.run["device"], "session_count") == 1:
        return "; timed in one session, so its noise is not known"
    return "" if check is None or check.spread is None else f"; sessions differ by {format_percent(check.spread)}"


def _accuracies_beside(run: RunRecord) -> str:
    """The accuracies of the baselines, those of several of a kind as a range; empty before any is trained."""
    parts = []
    for kind in ("random", "handmade"):
        known = [
            record.accuracy
            for name, record in run.networks.items()
            if name.partition("-")[0] == kind and record.accuracy is not None
        ]
        title = NETWORK_TITLES[kind].lower()
        if len(known) > 1:
            parts.append(f"{len(known)} {title} {format_percent(min(known))} to {format_percent(max(known))}")
        elif known:
            parts.append(f"{title} {format_percent(known[0])}")
    return ", ".join(parts)


def _ruler(run: RunRecord) -> Ruler | None:
    """All latencies on one scale; None before the first measurement."""
    values = {name: measured(run, name) for name in NETWORK_TITLES}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    interval = _interval(run)
    ends = [*known.values(), *(interval or ()), *([run.target_ms] if run.target_ms else [])]
    margin = max((max(ends) - min(ends)) * 0.12, max(ends) * 0.01)
    low: float = min(ends) - margin
    length: float = max(ends) + margin - low

    def place(value: float) -> float:
        return round(100 * (value - low) / length, 2)

    marks = tuple(
        Mark(NETWORK_TITLES[name], network_colour(name), place(value), format_ms(value))
        for name, value in known.items()
    )
    budget = Mark("Budget", "--ink", place(run.target_ms), format_ms(run.target_ms)) if run.target_ms else None
    words = "; ".join(f"{mark.name} {mark.text}" for mark in (*marks, *([budget] if budget else [])))
    return Ruler(marks, budget, (place(interval[0]), place(interval[1])) if interval else None, words)
