"""Latency of each layer, predicted beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.report.numbers import MISSING, significant
from search.report.run_folder import LayerLatency

_US_PER_MS = 1000.0


@dataclass(frozen=True)
class LayerBar:
    """One layer; the widths are percent of the longest bar."""

    layer: LayerLatency
    predicted_width: float
    measured_width: float | None


@dataclass(frozen=True)
class LayerTable:
    """All layers, in one unit so that they compare: microseconds when each layer takes less than a millisecond."""

    bars: tuple[LayerBar, ...]
    unit: str
    predicted_total_ms: float | None
    measured_total_ms: float | None

    def text(self, value_ms: float | None) -> str:
        """The latency in the unit of the table."""
        if value_ms is None:
            return MISSING
        return f"{value_ms * _US_PER_MS:,.1f}" if self.unit == "µs" else significant(value_ms)


def layer_table(layers: Sequence[LayerLatency]) -> LayerTable | None:
    """None without layers. Skipped blocks cost nothing and are left out."""
    layers = [layer for layer in layers if layer.predicted_ms or layer.measured_ms]
    if not layers:
        return None
    longest = max((v for layer in layers for v in (layer.predicted_ms, layer.measured_ms) if v), default=1.0)
    bars = tuple(
        LayerBar(
            layer,
            100 * (layer.predicted_ms or 0.0) / longest,
            None if layer.measured_ms is None else 100 * layer.measured_ms / longest,
        )
        for layer in layers
    )
    return LayerTable(
        bars,
        "µs" if longest < 1 else "ms",
        _total([layer.predicted_ms for layer in layers]),
        _total([layer.measured_ms for layer in layers]),
    )


def _total(values: Sequence[float | None]) -> float | None:
    """None when one of them is missing: a sum with gaps would look like a latency."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
