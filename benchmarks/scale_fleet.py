"""What profiling a space costs on paper: seconds on each device, bytes to it, and how many devices a host can serve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from profiler_agent.device import TimingPlan
from profiler_agent.schedule import MODELS_PER_JOB


@dataclass(frozen=True, kw_only=True)
class RunnerCost:
    """What timing a model costs beyond its runs.

    Attributes:
        model_session_s: per model and session, whatever the model: host, file, loading.
        sessions_per_model: in the mean, with those repeated because they did not agree.
        process_s: to start a process that times ``MODELS_PER_JOB`` models.
        start_ms: to load a model on the device, beyond what it took where the cost was fitted.
        has_process_per_round: every round is a process that loads and warms up again (``benchmark_model``).
    """

    model_session_s: float
    sessions_per_model: float
    process_s: float = 0.0
    start_ms: float = 0.0
    has_process_per_round: bool = False

    def profile_s(self, latency_ms: Sequence[float], plan: TimingPlan) -> float:
        """Seconds to time models of these latencies, one after another."""
        beside_s = len(latency_ms) * self.model_session_s + process_count(len(latency_ms)) * self.process_s
        return self.sessions_per_model * (beside_s + sum(self._session_ms(ms, plan) for ms in latency_ms) / 1000)

    def _session_ms(self, latency_ms: float, plan: TimingPlan) -> float:
        if not self.has_process_per_round:
            return self.start_ms + run_ms(latency_ms, plan)
        burst_ms = max(plan.burst_ms, latency_ms)
        return plan.round_count * (self.start_ms + plan.warmup_runs * latency_ms + burst_ms)


def process_count(model_count: int) -> int:
    """Processes of one session."""
    return math.ceil(model_count / MODELS_PER_JOB)


def run_ms(latency_ms: float, plan: TimingPlan) -> float:
    """All runs of one model in one session of our own runners: the first, the warm-ups and one that fits the burst,
    then in each round those that warm the burst up and the burst. Bursts that are preempted and tried again are not
    foreseen."""
    burst_runs = max(1, round(plan.burst_ms / latency_ms))
    round_runs = min(burst_runs, plan.burst_warmup_runs) + burst_runs
    return (2 + plan.warmup_runs + plan.round_count * round_runs) * latency_ms


@dataclass(frozen=True, kw_only=True)
class ProfileClock:
    """A profile as it went.

    Attributes:
        clock_s: from the first model to the last, pauses for a slowed device left out.
        start_up_s: of it the start of all processes.
        latency_ms, session_counts: of each model.
    """

    clock_s: float
    start_up_s: float
    latency_ms: Sequence[float]
    session_counts: Sequence[int]
    plan: TimingPlan

    @property
    def sessions_per_model(self) -> float:
        return sum(self.session_counts) / len(self.session_counts)

    def cost(self) -> RunnerCost:
        """The clock's time without processes' start and runs, shared by models and sessions.

        Raises:
            ValueError: the runs alone would take longer than the clock says.
        """
        counted = zip(self.latency_ms, self.session_counts, strict=True)
        running_s = sum(count * run_ms(ms, self.plan) for ms, count in counted) / 1000
        beside_s = self.clock_s - self.start_up_s - running_s
        if beside_s < 0:
            raise ValueError(
                f"The runs of {len(self.latency_ms)} models take {running_s:.1f} s and the processes' start "
                f"{self.start_up_s:.1f} s, but the clock says {self.clock_s:.1f} s."
            )
        sessions = sum(self.session_counts)
        process_total = max(self.session_counts) * process_count(len(self.latency_ms))
        return RunnerCost(
            model_session_s=beside_s / sessions,
            sessions_per_model=self.sessions_per_model,
            process_s=self.start_up_s / process_total,
        )


def mean_cost(before: RunnerCost, after: RunnerCost) -> RunnerCost:
    """Of two profiles that bracket a third: a shared machine is busier in one minute than in another."""
    return replace(
        before,
        model_session_s=(before.model_session_s + after.model_session_s) / 2,
        sessions_per_model=(before.sessions_per_model + after.sessions_per_model) / 2,
        process_s=(before.process_s + after.process_s) / 2,
    )


@dataclass(frozen=True, kw_only=True)
class PhoneJob:
    """What one phone takes: of its own time, of its host's processor, and of the link.

    Attributes:
        phone_s: until all models are timed.
        host_s: of one core of the host.
        pushed_bytes: model files that go to the phone.
    """

    phone_s: float
    host_s: float
    pushed_bytes: float

    def per_core(self) -> int:
        """Phones that one core of the host keeps busy."""
        return math.floor(self.phone_s / self.host_s)

    def per_link(self, link_bytes_per_s: float) -> int:
        """Phones that one link keeps busy."""
        return math.floor(
            (self.phone_s + self.pushed_bytes / link_bytes_per_s) / (self.pushed_bytes / link_bytes_per_s)
        )

    def per_host(self, core_count: int, link_bytes_per_s: float) -> tuple[int, str]:
        """Phones that a host with one link keeps busy, and what stops it from more."""
        by_core, by_link = core_count * self.per_core(), self.per_link(link_bytes_per_s)
        return (by_core, "the host's processor") if by_core <= by_link else (by_link, "the link")

    def fleet_minutes(self, phone_count: int, at_once: int) -> float:
        """A fleet, so many phones at a time."""
        return math.ceil(phone_count / at_once) * self.phone_s / 60


def few_shot_share(full: PhoneJob, few: PhoneJob, phone_count: int) -> float:
    """Phone time of a fleet in which the first phone is profiled in full and all others by a few networks, over that of
    full profiles."""
    return (full.phone_s + (phone_count - 1) * few.phone_s) / (phone_count * full.phone_s)
