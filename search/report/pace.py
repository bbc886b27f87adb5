"""How fast the device ran when networks were timed, beside when it was profiled: a clock that moved is no error of the
predictor, and a budget that was met by it is not met by the network."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from search.report.numbers import format_ms, format_percent

LEAST_CHANGE = 0.03
"""Below it, a canary's own noise may be all there is."""


def pace_note(pace: Mapping[str, float | None], measured_ms: Mapping[str, float | None]) -> str | None:
    """What the networks would take at the pace of the profile; None when the device runs as it did, or nobody knows.

    Args:
        pace: by the network's title, how long the canary took beside it over how long at the profile.
        measured_ms: by the network's title.
    """
    moved = {title: value for title, value in pace.items() if value is not None and measured_ms.get(title) is not None}
    change = median(moved.values()) - 1 if moved else 0.0
    if abs(change) <= LEAST_CHANGE:
        return None
    then = ", ".join(f"{title} about {format_ms(_at_profile(measured_ms[title], moved[title]))}" for title in moved)
    return (
        f"By the canary model, the device ran {format_percent(abs(change))} {'slower' if change > 0 else 'faster'} "
        f"when these were timed than when it was profiled. At the pace on which predictions and a relative budget "
        f"stand: {then}."
    )


def _at_profile(measured_ms: float | None, pace: float) -> float | None:
    return None if measured_ms is None else measured_ms / pace
