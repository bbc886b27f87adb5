"""Whether a device is fit to be timed now: heat, battery, and other programs' load; waiting is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from profiler_agent.device import Device
from profiler_agent.errors import DeviceBatteryLow, DeviceTooBusy, DeviceTooHot
from profiler_agent.load import busy_percent

_WAIT_STEP_S = 2.0


def complaint(
    device: Device, facts: Mapping[str, Any], earlier: Mapping[str, Any] | None = None
) -> DeviceBatteryLow | DeviceTooBusy | DeviceTooHot | None:
    """What speaks against a run, as the error that it becomes when it does not pass. A fact that the device does
    not tell speaks against nothing, but for the load when several threads are to be timed: where the device does not
    tell its pressure, that is taken from the ticks since the ``earlier`` facts."""
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
    percent, limit_percent = facts.get("battery_percent"), device.guard.min_battery_percent
    is_draining = facts.get("battery_status") not in ("charging", "full")
    if limit_percent is not None and percent is not None and percent < limit_percent and is_draining:
        return DeviceBatteryLow(
            f"{device.name} has {percent:.0f} % of its battery left and is not charging; a run starts at "
            f"{limit_percent:.0f} %, since phones lower their clocks when it runs down. Plug it into a charger, or "
            f"lower guard.min_battery_percent in {device.source_file}."
        )
    if _must_be_idle(device):
        return _load_complaint(device, facts, earlier)
    return None


def _must_be_idle(device: Device) -> bool:
    is_gated = device.guard.max_cpu_pressure_percent < 100.0  # noqa: PLR2004 - a percentage
    return is_gated and device.runtime.thread_count > 1 and device.runtime.accelerator == "cpu"


def _load_complaint(
    device: Device, facts: Mapping[str, Any], earlier: Mapping[str, Any] | None
) -> DeviceTooBusy | None:
    limit_percent = device.guard.max_cpu_pressure_percent
    pressure_percent = facts.get("cpu_pressure_percent")
    if pressure_percent is not None:
        percent, words = pressure_percent, f"has a CPU pressure of {pressure_percent:.0f} %"
    else:
        percent = busy_percent(earlier or {}, facts)
        if percent is None:
            return DeviceTooBusy(
                f"{device.name} does not tell how busy it is (/proc/pressure/cpu and /proc/stat cannot be read), and "
                f"other programs would spoil a run with {device.runtime.thread_count} threads unseen. Set "
                f"runtime.thread_count: 1 in {device.source_file}, or guard.max_cpu_pressure_percent: 100 where you "
                "know that nothing else runs."
            )
        words = f"has its CPUs busy for {percent:.0f} % of the time"
    if percent <= limit_percent:
        return None
    return DeviceTooBusy(
        f"{device.name} {words}; with {device.runtime.thread_count} threads a run starts below {limit_percent:.0f} %, "
        f"since no statistics can rescue it. Stop the other programs, or set runtime.thread_count: 1 in "
        f"{device.source_file}."
    )


def wait_until_ready(
    device: Device,
    read_facts: Callable[[], Mapping[str, Any]],
    *,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    on_wait: Callable[[str], None] | None = None,
) -> None:
    """Wait while something speaks against a run, at most ``guard.wait_limit_s``; ``on_wait`` is told once, why.

    Raises:
        DeviceBatteryLow, DeviceTooBusy, DeviceTooHot: it did not pass.
    """
    deadline_s = clock_s() + device.guard.wait_limit_s
    earlier, facts = None, read_facts()
    if _must_be_idle(device) and facts.get("cpu_pressure_percent") is None and facts.get("cpu_ticks") is not None:
        sleep(_WAIT_STEP_S)
        earlier, facts = facts, read_facts()
    while (reason := complaint(device, facts, earlier)) is not None:
        is_told = facts.get("cpu_pressure_percent") is not None or facts.get("cpu_ticks") is not None
        can_pass = not isinstance(reason, DeviceTooBusy) or is_told
        if not can_pass or clock_s() + _WAIT_STEP_S > deadline_s:
            raise reason
        if on_wait is not None:
            on_wait(str(reason))
            on_wait = None
        sleep(_WAIT_STEP_S)
        earlier, facts = facts, read_facts()
