"""What the specialisation matrix holds, and what can be said of it: does each network win on its own device?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from profiler_agent.stability import Verdict
from search.steps.verify import TOLERANCE, may_be_noise

SCHEMA = (
    4  # 3 knew no data and what is over budget; 2 no budgets and no outcomes; 1 no verdicts, one session's spread 0
)
NOISE_UNKNOWN = "it was timed in one session, so how much sessions differ is not known"


Standing: TypeAlias = Literal["wins", "within noise", "loses", "over its budget", "cannot be told"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a device's own network stands on it: by its budget first, then by latency against the fastest other network.

    ``against`` is that other; where a device has several own networks, ``run`` is the fastest of them.
    """

    column: str
    run: str
    standing: Standing
    against: str

    def __str__(self) -> str:
        return f"loses to {self.against}" if self.standing == "loses" else self.standing


@dataclass(frozen=True, kw_only=True)
class OverBudget:
    """By how much a network exceeds the budget of a device, as a share of it, and whether noise may be why."""

    share: float
    may_be_noise: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows are runs, by the name of their folder; columns are devices.

    ``details`` says what runs the models of each column; ``own`` is the column that a run searched for. Latencies are
    milliseconds; accuracy is that of the test images of ``data``. ``spread`` is how much the sessions of a timing
    differ, relatively, and None after one session; ``verdict`` is accepted or noisy. ``budget_ms`` is what the run was
    allowed on that device, and None where it searched for another.
    """

    runs: tuple[str, ...]
    columns: tuple[str, ...]
    details: tuple[str, ...]
    own: tuple[str, ...]
    accuracy: tuple[float, ...]
    data: tuple[str, ...]
    latency_ms: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float | None, ...], ...]
    verdict: tuple[tuple[Verdict, ...], ...]
    budget_ms: tuple[tuple[float | None, ...], ...]

    def to_json(self) -> dict[str, Any]:
        outcomes = [{**asdict(outcome), "text": str(outcome)} for outcome in self.outcomes()]
        over = [[self.over_budget(row, index) for index in range(len(self.columns))] for row in range(len(self.runs))]
        return {
            "schema": SCHEMA,
            **vars(self),
            "device_budget_ms": [self.device_budget_ms(index) for index in range(len(self.columns))],
            "over_budget": [[one and asdict(one) for one in row] for row in over],
            "outcomes": outcomes,
            "findings": self.findings(),
        }

    def device_budget_ms(self, index: int) -> float | None:
        """What was allowed on a device; None where no run searched for it with a budget, or several with different
        ones."""
        given = {row[index] for row in self.budget_ms} - {None}
        return given.pop() if len(given) == 1 else None

    def over_budget(self, row: int, index: int) -> OverBudget | None:
        """What a network takes beyond its own budget on a device, or beyond the device's when it was searched for
        another; None within the tolerance, or where there is no budget."""
        budget_ms = self.budget_ms[row][index]
        if budget_ms is None:
            budget_ms = self.device_budget_ms(index)
        latency_ms = self.latency_ms[row][index]
        if budget_ms is None or latency_ms <= (1 + TOLERANCE) * budget_ms:
            return None
        spread, verdict = self.spread[row][index] or 0.0, self.verdict[row][index]
        return OverBudget(
            share=latency_ms / budget_ms - 1, may_be_noise=may_be_noise(latency_ms, budget_ms, spread, verdict)
        )

    def outcomes(self) -> list[Outcome]:
        """For each device with a network of its own: how that network stands there."""
        return [self._outcome(index) for index, column in enumerate(self.columns) if column in self.own]

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
        own, other = self._rivals(index)
        gap = self._gap(index, own, other)
        noise = self.noise(index, own, other)
        outcome = self._outcome(index)
        own_text = f"its own network ({self.runs[own]}, {self.latency_ms[own][index]:.4g} ms)"
        head = f"{self.columns[index]} ({outcome}): {own_text}"
        against = f"{self.runs[other]} ({self.latency_ms[other][index]:.4g} ms)"
        tail = self._accuracy_text(own, other) + self._budget_text(index) + self._caution(index, own, other)
        if noise is None:
            return f"{head} cannot be told from {against}: {NOISE_UNKNOWN}. {tail}"
        if abs(gap) <= noise:
            return f"{head} cannot be told from {against}: sessions differ by {noise:.1%}. {tail}"
        if gap > 0:
            return f"{head} is not the fastest: it takes {gap:.1%} longer than {against}. {tail}"
        smaller = " It is the fastest on every device, so it is smaller rather than made for this one."
        everywhere = smaller if self._wins_everywhere(own) else ""
        return f"{head} is the fastest: {against} takes {1 / (1 + gap) - 1:.1%} longer. {tail}{everywhere}"

    def _accuracy_text(self, own: int, other: int) -> str:
        if self.data[own] != self.data[other]:
            return f"Accuracies do not compare: its is of {self.data[own]}, that one's of {self.data[other]}."
        points = 100 * (self.accuracy[own] - self.accuracy[other])
        return f"It has {points:+.1f} points of accuracy against that one."

    def _rivals(self, index: int) -> tuple[int, int]:
        """The rows of the fastest own network of a column, and of the fastest other."""
        rows = sorted(range(len(self.runs)), key=lambda row: self.latency_ms[row][index])
        own = next(row for row in rows if self.own[row] == self.columns[index])
        return own, rows[0] if rows[0] != own else rows[1]

    def _gap(self, index: int, own: int, other: int) -> float:
        return self.latency_ms[own][index] / self.latency_ms[other][index] - 1

    def _outcome(self, index: int) -> Outcome:
        own, other = self._rivals(index)
        return Outcome(
            column=self.columns[index],
            run=self.runs[own],
            standing=self._standing(index, own, other),
            against=self.runs[other],
        )

    def _standing(self, index: int, own: int, other: int) -> Standing:
        gap, noise = self._gap(index, own, other), self.noise(index, own, other)
        if self.over_budget(own, index) is not None:
            return "over its budget"
        if noise is None:
            return "cannot be told"
        if abs(gap) <= noise:
            return "within noise"
        return "loses" if gap > 0 else "wins"

    def _budget_text(self, index: int) -> str:
        """Each network that has a budget on this device, beside it."""
        parts = [self._beside_budget(index, row) for row in range(len(self.runs))]
        return "".join(f" {part}" for part in parts if part)

    def _beside_budget(self, index: int, row: int) -> str:
        budget_ms = self.budget_ms[row][index]
        if budget_ms is None:
            return ""
        share = self.latency_ms[row][index] / budget_ms - 1
        if share <= 0:
            return f"{self.runs[row]} is {-share:.1%} under its budget of {budget_ms:.4g} ms."
        text = f"{self.runs[row]} is {share:.1%} over its budget of {budget_ms:.4g} ms"
        over = self.over_budget(row, index)
        if over is None:
            return f"{text}, within the {TOLERANCE:.0%} that are tolerated."
        return f"{text}, which noise may explain." if over.may_be_noise else f"{text}."

    def _caution(self, index: int, *rows: int) -> str:
        noisy = [self.runs[row] for row in rows if self.verdict[row][index] == "noisy"]
        return (
            f" The timing of {' and of '.join(noisy)} was noisy: measure again before relying on it." if noisy else ""
        )

    def _wins_everywhere(self, row: int) -> bool:
        return len(self.columns) > 1 and all(
            min(latencies) == latencies[row] for latencies in zip(*self.latency_ms, strict=True)
        )
