"""Whether a device is fit to be timed now: temperature, throttling, and other programs' load; waiting is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from profiler_agent.device import Device
from profiler_agent.errors import DeviceTooBusy, DeviceTooHot

_WAIT_STEP_S = 2.0


def complaint(device: Device, facts: Mapping[str, Any]) -> DeviceTooBusy | DeviceTooHot | None:
    """What speaks against a run, as the error that it becomes when it does not pass. A fact that the device does
    not tell speaks against nothing, but for the load when several threads are to be timed."""
    limit_c = device.guard.max_start_temperature_c
    temperature_mc = facts.get("temperature_mc")
    if limit_c is not None and temperature_mc is not None and temperature_mc / 1000.0 > limit_c:
        return DeviceTooHot(
            f"{device.name} is at {temperature_mc / 1000.0:.0f} C; a run starts below {limit_c:.0f} C. Let it cool, "
            f"or raise guard.max_start_temperature_c in {device.source_file}."
        )
    if facts.get("thermal_status"):
        return DeviceTooHot(
            f"{device.name} says it is throttled (thermal status {facts['thermal_status']}). Take it out of its "
            "case or off the charger, let it cool, and start again."
        )
    if device.runtime.thread_count > 1 and device.runtime.accelerator == "cpu":
        return _load_complaint(device, facts.get("cpu_pressure_percent"))
    return None


def _load_complaint(device: Device, pressure_percent: float | None) -> DeviceTooBusy | None:
    limit_percent = device.guard.max_cpu_pressure_percent
    if pressure_percent is not None and pressure_percent > limit_percent:
        return DeviceTooBusy(
            f"{device.name} has a CPU pressure of {pressure_percent:.0f} %; with {device.runtime.thread_count} "
            f"threads a run starts below {limit_percent:.0f} %, since no statistics can "
            f"rescue it. Stop the other programs, or set runtime.thread_count: 1 in {device.source_file}."
        )
    return None


def wait_until_ready(
    device: Device,
    read_facts: Callable[[], Mapping[str, Any]],
    *,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait while something speaks against a run, at most ``guard.wait_limit_s``.

    Raises:
        DeviceTooHot, DeviceTooBusy: it did not pass.
    """
    deadline_s = clock_s() + device.guard.wait_limit_s
    while (reason := complaint(device, read_facts())) is not None:
        if clock_s() + _WAIT_STEP_S > deadline_s:
            raise reason
        sleep(_WAIT_STEP_S)
