"""Whole networks timed for a run, until each has a latency that counts."""

from __future__ import annotations

from collections.abc import Sequence

from latency_model.campaign import run_campaign
from latency_model.measurement import Measurement, paid_ops
from latency_model.network import NetworkSpec
from profiler_agent.device import Device
from profiler_agent.errors import DeviceThrottled
from profiler_agent.session import Session
from profiler_agent.stability import StabilityReport
from search.run import Run

ATTEMPTS = 3


def usable_measurements(run: Run, session: Session, networks: Sequence[NetworkSpec]) -> tuple[Measurement, ...]:
    """All usable measurements of the run's file, in order, at least one of each network. What is not there is timed,
    all in one batch; what the device was throttled for is timed again.

    Raises:
        DeviceThrottled: a network was timed only while the device was throttled, each time.
    """
    wanted = {paid_ops(network) for network in networks}
    for _ in range(ATTEMPTS):
        measured = run_campaign(session, networks, run.measurements).measurements
        usable = tuple(one for one in measured if one.is_usable)
        missing = wanted - {one.paid_ops for one in usable}
        if not missing:
            return usable
    last = next(one for one in reversed(measured) if one.paid_ops in missing)
    raise throttled_each_time(len(missing), len(wanted), run.device, last.report)


def throttled_each_time(missing: int, wanted: int, device: Device, last: StabilityReport) -> DeviceThrottled:
    """What to raise when some networks were timed only while the device was throttled."""
    return DeviceThrottled(
        f"{missing} of {wanted} networks were timed on {device.name} {ATTEMPTS} times, and only while it "
        f"was throttled: {last.reason}. What could be timed is kept. Let the device cool, or end what else runs "
        f"on it, and give the same command again."
    )
