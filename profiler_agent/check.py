"""`device check`: the whole chain on one tiny model, and what it says about the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from profiler_agent.check_models import check_model
from profiler_agent.device import BenchmarkModelRunner, Device
from profiler_agent.errors import DeviceBatteryLow, DeviceBusy, DeviceFull, DeviceNotReady, DeviceTooBusy, DeviceTooHot
from profiler_agent.runners.benchmark_model import process_per_round_s
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import StabilityReport, judge_timing
from profiler_agent.timing import Timing

CHECK = "check"
CANARY = "canary"
_PATIENCE_S = 5.0
_TIMING_S = 15.0  # of the twenty that a check may take
_MODELS_PER_ROUND = 3  # the two, and the canary beside them
# A device in this state has answered, and what it says of itself is worth seeing beside the reason.
_FINDINGS = (DeviceBatteryLow, DeviceBusy, DeviceFull, DeviceTooBusy, DeviceTooHot)


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found. ``latency_ms`` holds the low quantile per tiny model.

    Where the device answered and could not be timed now (hot, busy, full, its battery low, or held by another),
    ``finding`` says why and how to mend it, ``latency_ms`` is empty and ``stability`` None."""

    device_name: str
    fingerprint: str
    runtime_name: str
    runtime_version: str
    ran_on: str | None
    thread_count: int
    latency_ms: Mapping[str, float]
    stability: StabilityReport | None
    finding: str | None
    details: Mapping[str, Any]
    state: Mapping[str, Any]
    seconds: float


def quick(device: Device) -> Device:
    """The device with a plan and a patience for a person who waits: a check asks whether it can be timed now."""
    plan, guard = device.plan, device.guard
    is_slow = isinstance(device.runner, BenchmarkModelRunner)
    rounds, sessions, most_sessions = _few_processes(device) if is_slow else (16, 3, 4)
    plan = replace(
        plan,
        round_count=min(plan.round_count, rounds),
        session_count=min(plan.session_count, sessions),
        max_sessions=min(plan.max_sessions, most_sessions),
    )
    return replace(device, plan=plan, guard=replace(guard, wait_limit_s=min(guard.wait_limit_s, _PATIENCE_S)))


def _few_processes(device: Device) -> tuple[int, int, int]:
    """Rounds, sessions, and sessions at most, where each round of a model is a process: two to four rounds, and a third
    session where there is time for it."""
    round_s = process_per_round_s(device.runtime, replace(device.plan, round_count=1), _MODELS_PER_ROUND)
    rounds = max(2, min(4, int(_TIMING_S / (3 * round_s))))
    return rounds, 2, 3 if 3 * rounds * round_s <= _TIMING_S else 2


def check_device(device: Device, *, on_wait: Callable[[str], None] | None = None) -> CheckReport:
    """Open the device, time the tiny models, close it. ``on_wait`` is told why, when the device is waited for.

    Raises:
        ProxylessError: whatever stands in the way of an answer, with the mend.
    """
    device = quick(device)
    started_s = time.monotonic()
    models = [ModelFile(model_id=name, path=check_model(name, device.runtime.name)) for name in (CHECK, CANARY)]
    timings: dict[str, Timing] = {}
    finding: DeviceNotReady | None = None
    with open_session(device, on_wait=on_wait) as session:
        try:
            for timing in session.time_models(models, canary=models[1]):
                timings[timing.model_id] = timing
        except _FINDINGS as error:
            finding = error
        state = session.read_device_state()
        facts, ran_on = session.facts, session.ran_on
    reports = {} if finding else {name: judge_timing(timing, device.plan) for name, timing in timings.items()}
    return CheckReport(
        device_name=device.name,
        fingerprint=facts.fingerprint,
        runtime_name=facts.runtime_name,
        runtime_version=facts.runtime_version,
        ran_on=ran_on,
        thread_count=device.runtime.thread_count,
        latency_ms={name: report.latency_ms for name, report in reports.items()},
        stability=reports.get(CHECK),
        finding=None if finding is None else str(finding),
        details=facts.details,
        state=state,
        seconds=time.monotonic() - started_s,
    )


def check_to_json(report: CheckReport) -> dict[str, Any]:
    return {"schema": 1, **asdict(report)}
