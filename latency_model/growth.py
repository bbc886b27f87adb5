"""Networks that take longer than their ops add up to, the more so the larger they are: one bend, from sum to latency.

An op that is timed alone, again and again, finds data, code and branches where it left them; the larger the network
around it, the less it does. Where timings begin with runs enough to warm a network up little of that is left: on a
Zen 4 core that other programs kept busy a line through 40 networks of LiteRT had a MAPE of 0.66 % and a bend of 0.40 %.
Of timings with a single such run networks took 1.00 times the sum of their ops at 0.1 ms, 1.1 at 0.5 and 1.28 at 1.3,
and a line was 3.3 % off, a bend 1.0. On a quiet machine, and on published phone GPUs, networks add up: none is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray

SHARES = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.9)
"""By how much a typical network may take longer than its sum. Before all evidence none is as likely as all others
together."""
Milliseconds: TypeAlias = float | FloatArray


@dataclass(frozen=True, kw_only=True)
class Growth:
    """``latency = x * (1 + per_ms * min(x, most_ms))`` of a network whose ops and constant add up to x.

    Attributes:
        per_ms: share by which a network takes longer for each millisecond of its sum, 1/ms.
        typical_ms: sum of a network in the middle of those that taught it.
        most_ms: the largest sum among them: nobody has seen the share grow beyond.
    """

    per_ms: float
    typical_ms: float
    most_ms: float

    def latency_ms(self, sum_ms: Milliseconds) -> FloatArray:
        """What networks take whose ops and constants add up to ``sum_ms``; it never falls."""
        return np.asarray(sum_ms * (1.0 + self.per_ms * np.minimum(sum_ms, self.most_ms)))

    def sum_ms(self, latency_ms: Milliseconds) -> FloatArray:
        """The inverse of ``latency_ms``."""
        if self.per_ms == 0:
            return np.asarray(latency_ms)
        inside = (np.sqrt(1.0 + 4.0 * self.per_ms * latency_ms) - 1.0) / (2.0 * self.per_ms)
        return np.asarray(np.maximum(inside, latency_ms / (1.0 + self.per_ms * self.most_ms)))

    def slope(self, sum_ms: Milliseconds) -> FloatArray:
        """Derivative of ``latency_ms``."""
        share = np.where(sum_ms <= self.most_ms, 2.0 * np.asarray(sum_ms), self.most_ms)
        return np.asarray(1.0 + self.per_ms * share)

    def scaled(self, factor: float) -> Growth:
        """The same on a device where everything takes ``factor`` times as long."""
        return replace(
            self, per_ms=self.per_ms / factor, typical_ms=self.typical_ms * factor, most_ms=self.most_ms * factor
        )


NO_GROWTH = Growth(per_ms=0.0, typical_ms=0.0, most_ms=0.0)


def growth_by(share: float, latency_ms: FloatArray) -> Growth:
    """Growth of networks that took ``latency_ms``, by about ``share`` for the mean of them."""
    if share == 0:
        return NO_GROWTH
    per_ms = share / float(latency_ms.mean())
    sums_ms = Growth(per_ms=per_ms, typical_ms=0.0, most_ms=np.inf).sum_ms(latency_ms)
    return Growth(per_ms=per_ms, typical_ms=float(sums_ms.mean()), most_ms=float(sums_ms.max()))


def likely_share(shares: Sequence[float], log_evidence: Sequence[float]) -> float:
    """None unless growth is more likely than none; then the mean of what it may be."""
    evidence = np.array(log_evidence)
    likelihood: npt.NDArray[np.float64] = np.exp(evidence - evidence.max())
    of_growth = likelihood[1:]
    if len(of_growth) == 0 or of_growth.mean() <= likelihood[0]:
        return float(shares[0])
    return float(of_growth @ np.array(shares[1:]) / of_growth.sum())
