"""Whole networks timed for a run, until each has a latency that counts, at the pace on which its predictions stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from latency_model.campaign import run_campaign, time_networks
from latency_model.drift import pace_since
from latency_model.measurement import Measurement, MeasurementSet, paid_ops
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.network import NetworkSpec
from latency_model.ops import OpSpec
from profiler_agent.device import Device
from profiler_agent.errors import DeviceThrottled
from profiler_agent.session import Session
from profiler_agent.stability import StabilityReport
from search.run import Run
from search.steps.profile import profile_if_any

ATTEMPTS = 3
PACE_ATTEMPTS = 4
"""How often at most something is timed for the sake of the device's pace."""
PACE_TOLERANCE = 0.02
"""How far the device's pace may be from its profile's; the canary itself repeats no better on a busy machine."""

ByOps = Mapping[tuple[OpSpec, ...], Sequence[Measurement]]


def measured_networks(run: Run, session: Session, networks: Sequence[NetworkSpec]) -> ByOps:
    """The usable measurements of each network, by its paid ops, from the run's file. What is not there is timed, all in
    one batch, and what the device was too fast or slow for is timed again: a device's pace may wander by several per
    cent in minutes, and predictions are made at that of its profile. The measurement nearest to it comes first.

    Raises:
        DeviceThrottled: a network was timed only while the device was throttled, each time.
    """
    distinct = {paid_ops(network): network for network in networks}
    measured = _usable_measurements(run, session, list(distinct.values()))
    profiled = profile_if_any(run)
    while True:
        by_ops: dict[tuple[OpSpec, ...], list[Measurement]] = {ops: [] for ops in distinct}
        for measurement in measured:
            if measurement.paid_ops in by_ops:
                by_ops[measurement.paid_ops].append(measurement)
        found = {ops: _deciding(profiled, timed) for ops, timed in by_ops.items()}
        again = [network for ops, network in distinct.items() if not found[ops].is_settled]
        if not again:
            return {
                ops: sorted(one.usable, key=lambda measurement: pace_distance(profiled, [measurement]))
                for ops, one in found.items()
            }
        for measurement in time_networks(session, again):
            append_measurement(run.measurements, measurement)
        measured = read_measurements(run.measurements).measurements


def pace_distance(profiled: MeasurementSet | None, measurements: Sequence[Measurement]) -> float:
    """How far the device's pace was from its profile's while these were timed; 0 where nobody knows."""
    paces = [] if profiled is None else [pace_since(profiled, measurement) for measurement in measurements]
    known = [pace for pace in paces if pace is not None]
    return abs(math.log(median(known))) if known else 0.0


@dataclass(frozen=True, kw_only=True)
class _Deciding:
    """The measurements of one network that count. ``is_settled``: none is wanted beside them."""

    usable: Sequence[Measurement]
    is_settled: bool


def _deciding(profiled: MeasurementSet | None, measured: Sequence[Measurement]) -> _Deciding:
    """Those up to the first at the profile's pace, and no more than PACE_ATTEMPTS but for a usable one. What was timed
    later does not count, so that a resumed run, or one that shares the file, decides by the same numbers."""
    usable: list[Measurement] = []
    for count, measurement in enumerate(measured, start=1):
        if measurement.is_usable:
            usable.append(measurement)
            if pace_distance(profiled, [measurement]) <= PACE_TOLERANCE:
                return _Deciding(usable=usable, is_settled=True)
        if usable and count >= PACE_ATTEMPTS:
            return _Deciding(usable=usable, is_settled=True)
    return _Deciding(usable=usable, is_settled=False)


def _usable_measurements(run: Run, session: Session, networks: Sequence[NetworkSpec]) -> tuple[Measurement, ...]:
    """All measurements of the run's file, in order, at least one of each network a usable one."""
    wanted = {paid_ops(network) for network in networks}
    for _ in range(ATTEMPTS):
        measured = run_campaign(session, networks, run.measurements).measurements
        missing = wanted - {one.paid_ops for one in measured if one.is_usable}
        if not missing:
            return measured
    last = next(one for one in reversed(measured) if one.paid_ops in missing)
    raise throttled_each_time(len(missing), len(wanted), run.device, last.report)


def throttled_each_time(missing: int, wanted: int, device: Device, last: StabilityReport) -> DeviceThrottled:
    """What to raise when some networks were timed only while the device was throttled."""
    return DeviceThrottled(
        f"{missing} of {wanted} networks were timed on {device.name} {ATTEMPTS} times, and only while it "
        f"was throttled: {last.reason}. What could be timed is kept. Let the device cool, or end what else runs "
        f"on it, and give the same command again."
    )
