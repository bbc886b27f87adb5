"""Report cards: how wrong a predictor has been on what it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latency_model.features import FloatArray

_BAND = 0.95


@dataclass(frozen=True, kw_only=True)
class ErrorFigures:
    """Errors of a set of predictions. Shares are between 0 and 1; missing where it cannot be computed.

    Attributes:
        mape: mean absolute error as a share of the measured latency.
        within_5_percent, within_10_percent: share of predictions that close.
        spearman: rank correlation; needs three latencies that differ.
        coverage: share of measured latencies inside their interval.
        mean_half_width: half the interval as a share of the prediction.
        confidence: what the intervals promise.
        coverage_band: shares between which the coverage of so many falls 19 times in 20 when the promise is kept;
            missing where the intervals were calibrated on the same, so that it holds by construction.
    """

    count: int
    mape: float
    within_5_percent: float
    within_10_percent: float
    spearman: float | None
    coverage: float | None
    mean_half_width: float | None
    confidence: float | None = None
    coverage_band: tuple[float, float] | None = None

    def __str__(self) -> str:
        text = (
            f"{self.count} predicted, MAPE {self.mape:.1%}, within 5 %: {self.within_5_percent:.0%}, "
            f"within 10 %: {self.within_10_percent:.0%}"
        )
        if self.spearman is not None:
            text += f", Spearman {self.spearman:.3f}"
        if self.coverage is not None and self.mean_half_width is not None:
            text += f", intervals hold {self.coverage:.0%} (+-{self.mean_half_width:.1%})"
        if self.coverage_verdict is not None:
            text += f": {self.coverage_verdict}"
        return text

    @property
    def coverage_verdict(self) -> str | None:
        """Whether the intervals hold what they promise, in words; None where nothing judges that."""
        if self.coverage is None or self.coverage_band is None or self.confidence is None:
            return None
        low, high = self.coverage_band
        expected = f"{self.confidence:.0%} promised, {low:.0%}-{high:.0%} expected of {self.count}"
        if low <= 0:
            return f"too few to tell ({expected})"
        if self.coverage < low:
            return f"TOO FEW ({expected})"
        return f"{'wider than promised' if self.coverage > high else 'as promised'} ({expected})"

    def to_json(self) -> dict[str, Any]:
        band = self.coverage_band
        return asdict(self) | {"coverage_band": None if band is None else list(band)}


def error_figures(
    measured_ms: FloatArray,
    predicted_ms: FloatArray,
    interval_ms: tuple[FloatArray, FloatArray] | None = None,
    confidence: float | None = None,
) -> ErrorFigures:
    """Compare predictions with measurements; each array is (n,), n above 0, milliseconds.

    Args:
        confidence: what the intervals promise, to hold their coverage against.
    """
    if len(measured_ms) == 0 or measured_ms.shape != predicted_ms.shape:
        raise ValueError(f"{measured_ms.shape=} and {predicted_ms.shape=}; give one prediction per measurement.")
    error = np.abs(predicted_ms - measured_ms) / measured_ms
    coverage, half_width = None, None
    if interval_ms is not None:
        low, high = interval_ms
        coverage = float(((low <= measured_ms) & (measured_ms <= high)).mean())
        half_width = float(((high - low) / 2 / predicted_ms).mean())
    return ErrorFigures(
        count=len(measured_ms),
        mape=float(error.mean()),
        within_5_percent=float((error <= 0.05).mean()),  # noqa: PLR2004 - the limits the field quotes
        within_10_percent=float((error <= 0.10).mean()),  # noqa: PLR2004
        spearman=spearman(measured_ms, predicted_ms),
        coverage=coverage,
        mean_half_width=half_width,
        confidence=confidence,
        coverage_band=None if confidence is None or interval_ms is None else coverage_band(len(error), confidence),
    )


def coverage_band(count: int, confidence: float) -> tuple[float, float]:
    """Shares of ``count`` independent draws that fall inside 19 times in 20, when each does with ``confidence``.

    The draws of a calibration of n networks add to that: some 1 / n of the coverage.
    """
    from scipy.stats import binom  # noqa: PLC0415 - slow to import

    low, high = binom.interval(_BAND, count, confidence)
    return float(low) / count, float(high) / count


def spearman(left: FloatArray, right: FloatArray) -> float | None:
    """Rank correlation, ties averaged; None for fewer than three values or constant ones."""
    least = 3
    if len(left) < least or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    from scipy.stats import rankdata  # noqa: PLC0415 - slow to import

    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def flops_baseline(macs: FloatArray, latency_ms: FloatArray, judged_macs: FloatArray) -> FloatArray:
    """What latency = scale * MACs + constant would have said: the baseline every predictor must beat."""
    design = np.column_stack([macs, np.ones_like(macs)]) / latency_ms[:, None]
    solution, *_ = np.linalg.lstsq(design, np.ones_like(latency_ms), rcond=None)
    return np.asarray(np.column_stack([judged_macs, np.ones_like(judged_macs)]) @ solution)


def summarize(title: str, figures: dict[str, Any] | ErrorFigures) -> str:
    """One line for people."""
    read = figures if isinstance(figures, ErrorFigures) else ErrorFigures(**figures)
    return f"{title}: {read}"


def plain(values: FloatArray | Sequence[float]) -> list[float]:
    """Numbers for JSON."""
    return [float(value) for value in values]
