"""From raw rounds to a latency and a verdict: pure statistics, on the host, redone at will."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from profiler_agent.clocks import clock_complaint
from profiler_agent.device import TimingPlan
from profiler_agent.load import SessionLoad, load_of_facts
from profiler_agent.quantile import quantile_of
from profiler_agent.timing import SessionSamples, Timing

Verdict: TypeAlias = Literal["accepted", "noisy", "throttled"]
_MIN_UNDISTURBED = 3
_CROWDED_PERCENT = 10.0
_CROWDED_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class StabilityReport:
    """What is known of one model's latency.

    Attributes:
        latency_ms: for the predictor: the median ``session_ms`` of all sessions at one pace, or of the fastest
            ``session_count`` where the pace is not known.
        median_ms: over all rounds of all sessions, as they came, for people.
        spread: relative distance between the ``session_count`` fastest sessions' ``session_ms``.
        canary_drift: how much slower the device was in the slowest of these sessions than in the fastest: by all models
            of a round where enough ran in it, else by the canary.
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


def session_ms(session: SessionSamples, plan: TimingPlan) -> float:
    """What one session says of its model. Where its rounds' pace is known: the median of its samples at a pace of 1,
    which is a low quantile of the paces. Else the same low quantile of its samples."""
    if session.pace is None:
        return quantile_of(undisturbed(session, session.samples_ms), plan.low_quantile)
    at_pace = [ms / pace for ms, pace in zip(session.samples_ms, session.pace, strict=True)]
    return statistics.median(undisturbed(session, at_pace))


def session_canary_ms(session: SessionSamples, plan: TimingPlan) -> float | None:
    """The canary of one session, told as its model is; None where it had none."""
    if not session.canary_ms:
        return None
    if session.pace is None:
        return quantile_of(session.canary_ms, plan.low_quantile)
    return statistics.median(ms / pace for ms, pace in zip(session.canary_ms, session.pace, strict=True))


def undisturbed(session: SessionSamples, values: Sequence[float]) -> Sequence[float]:
    """Those of a session's rounds without an involuntary context switch when there are at least three of them: a
    preempted burst holds another program's time."""
    kept = [value for value, count in zip(values, session.involuntary_switches, strict=True) if count == 0]
    return kept if len(kept) >= _MIN_UNDISTURBED else values


def judge_timing(timing: Timing, plan: TimingPlan) -> StabilityReport:
    """Judge one model. Other programs only ever add time, so the fastest ``session_count`` sessions are compared: when
    they agree, their floor was reached. The device's pace and the clocks of those that count must have been the same,
    too."""
    chosen = agreeing_sessions(timing.sessions, plan)
    found_ms = [session_ms(session, plan) for session in chosen]
    spread = (max(found_ms) - min(found_ms)) / min(found_ms)
    slowness = _slowness(chosen, plan)
    canary_drift = max(slowness) / min(slowness) - 1.0 if slowness else 0.0
    throttling = _throttling(chosen, timing.core_mask, canary_drift, plan)
    crowding = _crowding(timing, chosen)
    is_noisy = len(timing.sessions) < plan.session_count or spread > plan.spread_limit or crowding is not None
    return StabilityReport(
        latency_ms=statistics.median(session_ms(session, plan) for session in _counted(timing.sessions, chosen, plan)),
        median_ms=statistics.median(sample for session in timing.sessions for sample in session.samples_ms),
        spread=spread,
        canary_drift=canary_drift,
        preempted_share=_preempted_share(timing),
        verdict="throttled" if throttling else "noisy" if is_noisy else "accepted",
        reason=throttling or crowding,
    )


def agreeing_sessions(sessions: Sequence[SessionSamples], plan: TimingPlan) -> tuple[SessionSamples, ...]:
    """The ``session_count`` sessions that are fastest, fastest first, of those at one pace where there are enough."""
    by_speed = sorted(_at_one_pace(sessions, plan) or sessions, key=lambda session: session_ms(session, plan))
    return tuple(by_speed[: plan.session_count])


def _counted(
    sessions: Sequence[SessionSamples], agreeing: Sequence[SessionSamples], plan: TimingPlan
) -> Sequence[SessionSamples]:
    """Those that the figure stands on. What is left of a session's noise at its pace goes both ways, so that the
    fastest would be too fast, the more so the more there are."""
    return _at_one_pace(sessions, plan) or agreeing


def _at_one_pace(sessions: Sequence[SessionSamples], plan: TimingPlan) -> Sequence[SessionSamples]:
    """The sessions in which the device was within ``canary_limit`` of the fastest pace that ``session_count`` of them
    share, and those of unknown pace: a throttled device's figures are not those of an awake one at another pace. Empty
    where too few share one."""
    paces = [None if session.pace is None else statistics.median(session.pace) for session in sessions]
    known = sorted(pace for pace in paces if pace is not None)
    for fastest, enough in zip(known, known[plan.session_count - 1 :], strict=False):
        limit = (1.0 + plan.canary_limit) * fastest
        if enough <= limit:
            both = zip(sessions, paces, strict=True)
            return [session for session, pace in both if pace is None or fastest <= pace <= limit]
    return ()


def _slowness(sessions: Sequence[SessionSamples], plan: TimingPlan) -> list[float]:
    """How slow the device was in each session, on one scale."""
    paces = [statistics.median(session.pace) for session in sessions if session.pace is not None]
    if len(paces) == len(sessions):
        return paces
    return [quantile_of(session.canary_ms, plan.low_quantile) for session in sessions if session.canary_ms]


def _throttling(
    sessions: Sequence[SessionSamples], core_mask: str | None, canary_drift: float, plan: TimingPlan
) -> str | None:
    """Why the device is taken to have slowed itself; None when nothing says so."""
    if canary_drift > plan.canary_limit:
        witness = "all models" if all(session.pace is not None for session in sessions) else "the canary model"
        return f"{witness} took {canary_drift:.0%} longer in one session than in another"
    return clock_complaint([session.clocks for session in sessions], core_mask)


def _crowding(timing: Timing, chosen: Sequence[SessionSamples]) -> str | None:
    """Why several threads are taken to have waited for other programs: it takes only one of them to make a run late,
    and no statistics tell. Where nothing is known of the device's load, that is the reason."""
    if timing.thread_count == 1:
        return None
    share = _preempted_share(timing)
    if share is not None and share > _CROWDED_SHARE:
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
