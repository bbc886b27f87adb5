"""From raw rounds to a latency and a verdict: pure statistics, on the host, redone at will."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from profiler_agent.clocks import clock_complaint
from profiler_agent.device import TimingPlan
from profiler_agent.load import SessionLoad, load_of_facts
from profiler_agent.timing import SessionSamples, Timing

Verdict: TypeAlias = Literal["accepted", "noisy", "throttled"]
_MIN_UNDISTURBED = 3
_CROWDED_PERCENT = 10.0


@dataclass(frozen=True, kw_only=True)
class StabilityReport:
    """What is known of one model's latency.

    Attributes:
        latency_ms: the low quantile, for the predictor; the median of the agreeing sessions.
        median_ms: over all rounds of all sessions, for people.
        spread: relative distance between the ``session_count`` fastest sessions' low quantiles.
        canary_drift: how much slower the canary was in the slowest of these sessions than in the fastest.
        preempted_share: rounds with an involuntary context switch; None where no count could be read.
        reason: why the verdict is ``throttled``, or ``noisy`` for other programs' sake; None for the others.
    """

    latency_ms: float
    median_ms: float
    spread: float
    canary_drift: float
    preempted_share: float | None
    verdict: Verdict
    reason: str | None = None


def low_quantile_ms(samples: SessionSamples, quantile: float = 0.1) -> float:
    """The low quantile of one session's samples, from those without an involuntary context switch when there
    are at least three of them: a preempted burst holds another program's time."""
    undisturbed = [
        sample for sample, count in zip(samples.samples_ms, samples.involuntary_switches, strict=True) if count == 0
    ]
    return quantile_of(undisturbed if len(undisturbed) >= _MIN_UNDISTURBED else samples.samples_ms, quantile)


def quantile_of(values: Sequence[float], quantile: float) -> float:
    """Linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    position = quantile * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def judge_timing(timing: Timing, plan: TimingPlan) -> StabilityReport:
    """Judge one model. Noise only ever adds time, so the fastest ``session_count`` sessions are compared: when
    they agree, their floor was reached; slower sessions are kept in the data but not in the figure. The canary and the
    clocks of those that count must have been the same, too."""
    chosen = agreeing_sessions(timing.sessions, plan)
    lows_ms = [low_quantile_ms(session, plan.low_quantile) for session in chosen]
    spread = (max(lows_ms) - min(lows_ms)) / min(lows_ms)
    canaries_ms = [quantile_of(session.canary_ms, plan.low_quantile) for session in chosen if session.canary_ms]
    canary_drift = max(canaries_ms) / min(canaries_ms) - 1.0 if canaries_ms else 0.0
    throttling = _throttling(chosen, timing.core_mask, canary_drift, plan)
    crowding = _crowding(timing, chosen, plan)
    is_noisy = len(timing.sessions) < plan.session_count or spread > plan.spread_limit or crowding is not None
    return StabilityReport(
        latency_ms=statistics.median(lows_ms),
        median_ms=statistics.median(sample for session in timing.sessions for sample in session.samples_ms),
        spread=spread,
        canary_drift=canary_drift,
        preempted_share=_preempted_share(timing),
        verdict="throttled" if throttling else "noisy" if is_noisy else "accepted",
        reason=throttling or crowding,
    )


def agreeing_sessions(sessions: Sequence[SessionSamples], plan: TimingPlan) -> tuple[SessionSamples, ...]:
    """The ``session_count`` sessions with the lowest low quantiles, fastest first."""
    by_speed = sorted(sessions, key=lambda session: low_quantile_ms(session, plan.low_quantile))
    return tuple(by_speed[: plan.session_count])


def _throttling(
    sessions: Sequence[SessionSamples], core_mask: str | None, canary_drift: float, plan: TimingPlan
) -> str | None:
    """Why the device is taken to have slowed itself; None when nothing says so."""
    if canary_drift > plan.canary_limit:
        return f"the canary model took {canary_drift:.0%} longer in one session than in another"
    return clock_complaint([session.clocks for session in sessions], core_mask)


def _crowding(timing: Timing, chosen: Sequence[SessionSamples], plan: TimingPlan) -> str | None:
    """Why several threads are taken to have waited for other programs: it takes only one of them to make a run late,
    and no statistics tell. Where nothing is known of the device's load, that is the reason."""
    if timing.thread_count == 1:
        return None
    share = _preempted_share(timing)
    if share is not None and share > plan.low_quantile:
        return f"{share:.0%} of the rounds with several threads were preempted"
    known = [load for session in chosen if (load := session.load) is not None]
    loads = known or [load_of_facts({}, timing.facts_after)]
    for load in loads:
        if complaint := _load_complaint(load, is_counted=share is not None):
            return complaint
    is_told = any(load.pressure_percent is not None or load.others_percent is not None for load in loads)
    if share is None and not is_told and timing.facts_after.get("cpu_ticks") is None:
        return "several threads were timed, and the device does not tell its load"
    return None  # the device was idle before the run: see readiness


def _load_complaint(load: SessionLoad, *, is_counted: bool) -> str | None:
    """``is_counted``: preemptions of the measuring thread were, and speak louder than a pressure that the threads may
    have made themselves. Busy cores alone do no harm where the device says that nobody waits for one."""
    pressure_percent, others_percent = load.pressure_percent, load.others_percent
    is_pressed = pressure_percent is not None and pressure_percent > _CROWDED_PERCENT
    if is_pressed and not is_counted:
        return f"the CPU pressure was {pressure_percent:.0f} % after several threads ran"
    if pressure_percent is not None and not is_pressed:
        return None
    if others_percent is None or others_percent <= _CROWDED_PERCENT:
        return None
    return f"other programs kept the CPUs busy for {others_percent:.0f} % of the time in which several threads ran"


def _preempted_share(timing: Timing) -> float | None:
    counts = [n for session in timing.sessions for n in session.involuntary_switches if n is not None]
    return sum(n > 0 for n in counts) / len(counts) if counts else None
