"""Latency as a smooth function of a width, for searches that choose widths by gradient.

Any predictor gives the latency at whole widths; this is a curve through those points: monotone, once continuously
differentiable, with an exact derivative. Trees and tables become differentiable in width that way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from latency_model.errors import LatencyModelError
from latency_model.features import FloatArray
from latency_model.ops import OpSpec

LEAST_WIDTHS = 2


class SmoothWidthLatency(nn.Module):
    """Monotone cubic curve through (width, latency) points; constant beyond the ends.

    Args:
        widths: at least two, rising.
        latency_ms: one per width. A wider op that was measured as faster (tiling, noise) is pooled with its
            neighbours first, so that the curve never rewards width.
    Raises:
        LatencyModelError: fewer than two widths, not rising, or latencies that are none.
    Source: Fritsch and Carlson, Monotone piecewise cubic interpolation, SIAM J. Numer. Anal. 1980.
    """

    widths: Tensor
    levels_ms: Tensor
    slopes: Tensor

    def __init__(self, widths: Sequence[float], latency_ms: Sequence[float]) -> None:
        super().__init__()
        places = np.asarray(widths, dtype=np.float64)
        values = np.asarray(latency_ms, dtype=np.float64)
        if len(places) < LEAST_WIDTHS or places.shape != values.shape or (np.diff(places) <= 0).any():
            raise LatencyModelError(
                f"Widths {list(widths)} with {len(values)} latencies; give two or more rising widths, one latency each."
            )
        if not np.isfinite(values).all() or (values < 0).any():
            raise LatencyModelError(f"Latencies {list(latency_ms)}; they are finite milliseconds, 0 or more.")
        levels = _never_falling(values)
        self.register_buffer("widths", torch.from_numpy(places))
        self.register_buffer("levels_ms", torch.from_numpy(levels))
        self.register_buffer("slopes", torch.from_numpy(_monotone_slopes(places, levels)))

    def forward(self, width: Tensor) -> Tensor:
        """Milliseconds at each width, in its dtype (for whole numbers in torch's default one); the gradient flows
        through ``width``."""
        inside = width.to(self.widths.dtype).clamp(self.widths[0], self.widths[-1])
        left = (torch.searchsorted(self.widths, inside.detach(), right=True) - 1).clamp(0, len(self.widths) - 2)
        step = self.widths[left + 1] - self.widths[left]
        t = (inside - self.widths[left]) / step
        start, end = self.levels_ms[left], self.levels_ms[left + 1]
        start_slope, end_slope = self.slopes[left] * step, self.slopes[left + 1] * step
        cubic = (
            start * (1 + 2 * t) * (1 - t) ** 2
            + start_slope * t * (1 - t) ** 2
            + end * t**2 * (3 - 2 * t)
            + end_slope * t**2 * (t - 1)
        )
        return cubic.to(width.dtype if width.is_floating_point() else torch.get_default_dtype())


def smooth_width_latency(
    contribution_ms: Callable[[Sequence[OpSpec]], FloatArray],
    op_of_width: Callable[[int], OpSpec],
    widths: Sequence[int],
) -> SmoothWidthLatency:
    """The curve of one op over its width.

    Args:
        contribution_ms: milliseconds of ops, such as ``NetworkLatency.op_contribution_ms``.
        op_of_width: the op at a whole width.
        widths: where the predictor is asked, rising.
    Raises:
        UnknownOpError: the predictor does not know one of the ops.
    """
    return SmoothWidthLatency(list(widths), list(contribution_ms([op_of_width(width) for width in widths])))


def _never_falling(values: FloatArray) -> FloatArray:
    """Isotonic regression by pooling adjacent violators: the nearest sequence that never falls."""
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        means.append(float(value))
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            total = counts[-2] + counts[-1]
            means[-2:] = [(means[-2] * counts[-2] + means[-1] * counts[-1]) / total]
            counts[-2:] = [total]
    return np.repeat(means, counts)


def _monotone_slopes(places: FloatArray, levels: FloatArray) -> FloatArray:
    """Slopes at the points that keep every piece monotone (harmonic means inside, flat ends): the derivative is
    then continuous with the constants beyond the ends."""
    steps = np.diff(places)
    secants = np.diff(levels) / steps
    slopes = np.zeros(len(places))
    for i in range(1, len(places) - 1):
        before, after = secants[i - 1], secants[i]
        if before * after > 0:
            weight_before, weight_after = 2 * steps[i] + steps[i - 1], steps[i] + 2 * steps[i - 1]
            slopes[i] = (weight_before + weight_after) / (weight_before / before + weight_after / after)
    return slopes
