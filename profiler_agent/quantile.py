"""Quantiles of few values, without numpy: a host that only profiles has none."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile_of(values: Sequence[float], quantile: float) -> float:
    """Linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    position = quantile * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
