"""Pace: how slow a device was in each round of its jobs, told by all models that ran in it.

A clock that wanders, or a neighbour on the same machine, slows whatever runs in a round alike. No single model tells
that from its own noise; many do. The model, of sample s of model m in round r: log s = own(m) + pace(r) + noise, fitted
by medians in turn (Tukey, Exploratory Data Analysis, 1977: median polish).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from profiler_agent.quantile import quantile_of

LEAST_MODELS = 6
"""In one round, the canary among them: each is a part of the median that it is divided by."""
_MOST_TURNS = 20
_SETTLED = 1e-4


@dataclass
class PaceKeeper:
    """Takes the samples of one batch's jobs, and tells each round's pace.

    A pace of 1 is the low quantile of the paces in the jobs that had been run when one was first asked for: later jobs
    are told on the same scale.
    """

    low_quantile: float
    _rounds: list[dict[str, float]] = field(default_factory=list)  # log ms of each model
    _jobs: list[range] = field(default_factory=list)
    _paces: list[float | None] = field(default_factory=list)  # log
    _scale_rounds: int = 0

    def add(self, samples_ms: Mapping[str, Sequence[float | None]]) -> int:
        """Take one job's samples, in order of its rounds; None where one was preempted. Returns the job's number."""
        first = len(self._rounds)
        self._rounds += [
            {model_id: math.log(ms) for model_id, ms in zip(samples_ms, column, strict=True) if ms is not None}
            for column in zip(*samples_ms.values(), strict=True)
        ]
        self._jobs.append(range(first, len(self._rounds)))
        self._paces.clear()
        return len(self._jobs) - 1

    def of(self, job: int) -> tuple[float, ...] | None:
        """How slow each round of a job was; a round of few models is told by the job's others. None for a job of few
        models."""
        if not self._paces:
            self._paces = self._on_scale(_polished(self._rounds))
        own = [self._paces[number] for number in self._jobs[job]]
        told = [pace for pace in own if pace is not None]
        if not told:
            return None
        middle = median(told)
        return tuple(math.exp(middle if pace is None else pace) for pace in own)

    def _on_scale(self, paces: list[float | None]) -> list[float | None]:
        known = [pace for pace in paces[: self._scale_rounds or len(paces)] if pace is not None]
        if not known:
            return paces
        self._scale_rounds = self._scale_rounds or len(paces)
        one = quantile_of(known, self.low_quantile)
        return [None if pace is None else pace - one for pace in paces]


def _polished(rounds: Sequence[Mapping[str, float]]) -> list[float | None]:
    """The log pace of each round; None where fewer than LEAST_MODELS tell it."""
    known = [number for number, samples in enumerate(rounds) if len(samples) >= LEAST_MODELS]
    pace = dict.fromkeys(known, 0.0)
    by_model: dict[str, list[tuple[int, float]]] = {}
    for number in known:
        for model_id, log_ms in rounds[number].items():
            by_model.setdefault(model_id, []).append((number, log_ms))
    for _ in range(_MOST_TURNS):
        own = {
            model_id: median(log_ms - pace[number] for number, log_ms in samples)
            for model_id, samples in by_model.items()
        }
        before = pace
        pace = {
            number: median(log_ms - own[model_id] for model_id, log_ms in rounds[number].items()) for number in known
        }
        if max((abs(pace[number] - before[number]) for number in known), default=0.0) < _SETTLED:
            break
    return [pace.get(number) for number in range(len(rounds))]
