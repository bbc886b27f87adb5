"""How the report writes numbers down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TypeVar

Item = TypeVar("Item")
MISSING = "—"
_SPACE = "\u00a0"  # a number and its unit stay on one line
_MINUTE_S = 60
_HOUR_S = 3600


def significant(value: float, digits: int = 3) -> str:
    """The number with so many significant digits and no exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


def format_ms(value: float | None) -> str:
    return MISSING if value is None else f"{significant(value)}{_SPACE}ms"


def format_percent(value: float | None, decimals: int = 1) -> str:
    """A share of 1 as percent."""
    return MISSING if value is None else f"{100 * value:.{decimals}f}{_SPACE}%"


def format_change(value: float | None) -> str:
    """A relative difference with its sign."""
    if value is None:
        return MISSING
    text = f"{100 * value:+.1f}{_SPACE}%"
    return text[1:] if text[1:4] == "0.0" else text.replace("-", "\u2212")  # a real minus


def format_count(value: float | None) -> str:
    """12,345 -> 12.3 k; counts of parameters and multiply-adds."""
    if value is None:
        return MISSING
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return significant(value / limit) + _SPACE + unit
    return f"{value:.0f}"


def format_bytes(value: float | None) -> str:
    text = format_count(value)
    return text if value is None else text + ("B" if text[-1].isalpha() else f"{_SPACE}B")


def format_whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def format_seconds(value: float | None) -> str:
    if value is None:
        return MISSING
    if value < _MINUTE_S:
        return f"{value:.1f}{_SPACE}s"
    if value < _HOUR_S:
        return f"{int(value // _MINUTE_S)} min {int(value % _MINUTE_S)} s"
    return f"{int(value // _HOUR_S)} h {int(value % _HOUR_S // _MINUTE_S)} min"


def format_moment(text: str | None) -> str:
    """2026-03-01T09:30:05+00:00 -> 2026-03-01 09:30 UTC."""
    if not text:
        return ""
    return f"{datetime.fromisoformat(text).astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def relative_gap(value: float | None, reference: float | None) -> float | None:
    """value / reference - 1; None when either is missing."""
    if value is None or not reference:
        return None
    return value / reference - 1


def thin(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` items, evenly spaced, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]
