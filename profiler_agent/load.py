"""How busy other programs kept a device's processor: pure, from the facts before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from profiler_agent.errors import AgentOutputError

_IDLE_TICKS = (3, 4)  # idle and iowait among the facts' cpu_ticks


@dataclass(frozen=True, kw_only=True)
class SessionLoad:
    """What else ran while one session was timed; None for what the device does not tell.

    Attributes:
        pressure_percent: the share of the last ten seconds in which something waited for a processor.
        others_percent: the share of all processors' time that went neither to idling nor to the agent and what it ran.
            It is over the whole device: on one with many idle cores it says more than was in the way.
    """

    pressure_percent: float | None
    others_percent: float | None

    def __post_init__(self) -> None:
        for name in ("pressure_percent", "others_percent"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value <= 100):  # noqa: PLR2004 - a percentage
                raise AgentOutputError(f"{name} is {value!r}; it lies between 0 and 100.")


def load_of_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> SessionLoad:
    """The load around one job."""
    pressure_percent = after.get("cpu_pressure_percent")
    passed = _passed_ticks(before, after)
    own_before, own_after = before.get("own_ticks"), after.get("own_ticks")
    others_percent = None
    if passed is not None and own_before is not None and own_after is not None and own_after >= own_before:
        total, busy = passed
        others_percent = min(max(100.0 * (busy - (own_after - own_before)) / total, 0.0), 100.0)
    return SessionLoad(
        pressure_percent=None if pressure_percent is None else min(max(float(pressure_percent), 0.0), 100.0),
        others_percent=others_percent,
    )


def busy_percent(earlier: Mapping[str, Any], facts: Mapping[str, Any]) -> float | None:
    """The share of all CPUs' time between two looks that was not idle; None when it cannot be told. The load average
    is no help: on phones it also counts what sleeps."""
    passed = _passed_ticks(earlier, facts)
    return None if passed is None else 100.0 * passed[1] / passed[0]


def _passed_ticks(earlier: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ticks of all CPUs between two looks, and those in which they were busy."""
    before, after = earlier.get("cpu_ticks"), facts.get("cpu_ticks")
    if before is None or after is None or len(before) != len(after) or None in (*before, *after):
        return None
    passed = [late - early for early, late in zip(before, after, strict=True)]
    total = sum(passed)
    return (total, total - sum(passed[index] for index in _IDLE_TICKS)) if total > 0 else None


def load_to_json(load: SessionLoad | None) -> dict[str, Any] | None:
    return None if load is None else asdict(load)


def load_from_json(data: Any) -> SessionLoad | None:
    """Read the load back.

    Raises:
        AgentOutputError: another form, or no percentage.
    """
    if data is None:
        return None
    if not isinstance(data, dict) or set(data) != {"pressure_percent", "others_percent"}:
        raise AgentOutputError(f"load is {data!r}; it holds pressure_percent and others_percent.")
    return SessionLoad(**data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
