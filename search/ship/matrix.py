"""What the specialisation matrix holds, and what can be said of it: does each network win on its own device?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiler_agent.stability import Verdict

SCHEMA = 2  # 1 knew no verdicts, and gave one session the spread 0
NOISE_UNKNOWN = "it was timed in one session, so how much sessions differ is not known"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows are runs, by the name of their folder; columns are devices.

    ``details`` says what runs the models of each column; ``own`` is the column that a run searched for. Latencies are
    milliseconds; accuracy is that of the test images. ``spread`` is how much the sessions of a timing differ,
    relatively, and None after one session; ``verdict`` is accepted or noisy.
    """

    runs: tuple[str, ...]
    columns: tuple[str, ...]
    details: tuple[str, ...]
    own: tuple[str, ...]
    accuracy: tuple[float, ...]
    latency_ms: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float | None, ...], ...]
    verdict: tuple[tuple[Verdict, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **vars(self), "findings": self.findings()}

    def findings(self) -> list[str]:
        """For each device with a network of its own: whether that network is the fastest there, as far as the spread
        between sessions lets one tell."""
        return [self._finding(index) for index, column in enumerate(self.columns) if column in self.own]

    def noise(self, column: int, *rows: int) -> float | None:
        """How far apart latencies of these rows may lie and still be the same; None when that is not known."""
        spreads = [self.spread[row][column] for row in rows]
        known = [spread for spread in spreads if spread is not None]
        return max(known) if len(known) == len(spreads) else None

    def _finding(self, index: int) -> str:
        rows = sorted(range(len(self.runs)), key=lambda row: self.latency_ms[row][index])
        own = next(row for row in rows if self.own[row] == self.columns[index])
        other = rows[0] if rows[0] != own else rows[1]
        gap = self.latency_ms[own][index] / self.latency_ms[other][index] - 1
        noise = self.noise(index, own, other)
        head = f"{self.columns[index]}: its own network ({self.runs[own]}, {self.latency_ms[own][index]:.4g} ms)"
        against = f"{self.runs[other]} ({self.latency_ms[other][index]:.4g} ms)"
        points = 100 * (self.accuracy[own] - self.accuracy[other])
        tail = f"It has {points:+.1f} points of accuracy against that one.{self._caution(index, own, other)}"
        if noise is None:
            return f"{head} cannot be told from {against}: {NOISE_UNKNOWN}. {tail}"
        if abs(gap) <= noise:
            return f"{head} cannot be told from {against}: sessions differ by {noise:.1%}. {tail}"
        if gap > 0:
            return f"{head} is not the fastest: it takes {gap:.1%} longer than {against}. {tail}"
        smaller = " It is the fastest on every device, so it is smaller rather than made for this one."
        everywhere = smaller if self._wins_everywhere(own) else ""
        return f"{head} is the fastest: {against} takes {1 / (1 + gap) - 1:.1%} longer. {tail}{everywhere}"

    def _caution(self, index: int, *rows: int) -> str:
        noisy = [self.runs[row] for row in rows if self.verdict[row][index] == "noisy"]
        return (
            f" The timing of {' and of '.join(noisy)} was noisy: measure again before relying on it." if noisy else ""
        )

    def _wins_everywhere(self, row: int) -> bool:
        return len(self.columns) > 1 and all(
            min(latencies) == latencies[row] for latencies in zip(*self.latency_ms, strict=True)
        )
