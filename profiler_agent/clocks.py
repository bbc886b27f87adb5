"""Whether a device slowed its own clocks while a model was timed: pure, from what the agent read meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from profiler_agent.errors import AgentOutputError

CLOCK_FALL_LIMIT = 0.10  # as the canary's: a tenth slower is another device
_KHZ_PER_GHZ = 1e6

PerClusterKhz: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class SessionClocks:
    """The clusters' clocks around one session; None where the device does not tell.

    The current clocks before and after a session are left out: there the governor has taken the idle cores down, on a
    cool device as on a hot one. What is kept is what heat alone lowers.

    Attributes:
        cluster_cores: the cores of each cluster; all other attributes are in this order.
        allowed_khz: the highest clock that each cluster was allowed, as read before and after the session.
        working_khz: the current clocks as read once a second while the runner worked, the last readings of it.
    """

    cluster_cores: tuple[tuple[int, ...], ...]
    allowed_khz: tuple[PerClusterKhz, ...]
    working_khz: tuple[PerClusterKhz, ...]


def clocks_of_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> SessionClocks | None:
    """The clocks among a job's facts; None when the device told none."""
    cores = after.get("cluster_cores") or before.get("cluster_cores")
    allowed = [facts.get("max_frequencies_khz") for facts in (before, after)]
    working = after.get("working_frequencies_khz")
    clocks = SessionClocks(
        cluster_cores=tuple(tuple(int(core) for core in _list(item) if _is_count(core)) for item in _list(cores)),
        allowed_khz=tuple(_per_cluster(item) for item in allowed if item),
        working_khz=tuple(_per_cluster(item) for item in _list(working)),
    )
    return clocks if clocks.allowed_khz or clocks.working_khz else None


def clock_complaint(
    sessions: Sequence[SessionClocks | None], core_mask: str | None, limit: float = CLOCK_FALL_LIMIT
) -> str | None:
    """Why these sessions do not count as timed at one clock, or None when nothing the device told speaks against it.

    Of every cluster in use (of ``core_mask``; all where that or a cluster's cores are unknown) the highest allowed
    clock of all readings is compared with the lowest: whatever the order, some of the sessions were held below what
    others had. It is not compared with the hardware's limit: a power-saving or a fixed clock is a slow one, but the
    same for all. The current clock is compared where work must have been done: when one cluster holds the whole mask.
    There each session counts with the highest of its readings, since between two models a cluster rests. A reading of
    more or fewer clusters is left out: one of them was switched off, and nothing tells which.
    """
    known = [clocks for clocks in sessions if clocks is not None]
    if len({clocks.cluster_cores for clocks in known}) != 1:
        return None  # another device's clusters, or none: nothing to set against each other
    cluster_cores = known[0].cluster_cores
    in_use = _clusters_in_use(cluster_cores, core_mask)
    for cluster in range(len(cluster_cores)) if in_use is None else in_use:
        allowed = [khz for clocks in known for khz in _readings(clocks.allowed_khz, cluster, len(cluster_cores))]
        if complaint := _fall(f"{_name(cluster_cores, cluster)} were allowed", allowed, limit):
            return complaint
    if in_use is None or len(in_use) != 1:
        return None
    working = [_readings(clocks.working_khz, in_use[0], len(cluster_cores)) for clocks in known]
    return _fall(f"{_name(cluster_cores, in_use[0])} worked at", [max(khz) for khz in working if khz], limit)


def _clusters_in_use(cluster_cores: Sequence[Sequence[int]], core_mask: str | None) -> list[int] | None:
    """None when it cannot be told: then each cluster may be the one."""
    if core_mask is None:
        return None
    wanted = {core for core in range(4 * len(core_mask)) if int(core_mask, 16) >> core & 1}
    if not wanted <= {core for cores in cluster_cores for core in cores}:
        return None
    return [index for index, cores in enumerate(cluster_cores) if not wanted.isdisjoint(cores)]


def _readings(table: Sequence[PerClusterKhz], cluster: int, cluster_count: int) -> list[int]:
    return [khz for row in table if len(row) == cluster_count and (khz := row[cluster]) is not None]


def _fall(words: str, readings_khz: Sequence[int], limit: float) -> str | None:
    if not readings_khz or min(readings_khz) >= (1.0 - limit) * max(readings_khz):
        return None
    low, high = min(readings_khz), max(readings_khz)
    return (
        f"{words} {low / _KHZ_PER_GHZ:.2f} GHz at one time and {high / _KHZ_PER_GHZ:.2f} GHz at another "
        f"({1 - low / high:.0%} less; the limit is {limit:.0%})"
    )


def _name(cluster_cores: Sequence[Sequence[int]], cluster: int) -> str:
    cores = cluster_cores[cluster]
    return f"cores {', '.join(map(str, cores))}" if cores else f"the cores of cluster {cluster}"


def clocks_to_json(clocks: SessionClocks | None) -> dict[str, Any] | None:
    if clocks is None:
        return None
    return {name: [list(row) for row in getattr(clocks, name)] for name in _FIELDS}


def clocks_from_json(data: Any) -> SessionClocks | None:
    """Read the clocks back.

    Raises:
        AgentOutputError: another form, or a number that no clock has.
    """
    if data is None:
        return None
    if not isinstance(data, dict) or set(data) != set(_FIELDS) or not all(map(_is_table, data.values())):
        raise AgentOutputError(f"clocks are {data!r}; they hold lists of whole numbers under {', '.join(_FIELDS)}.")
    return SessionClocks(**{name: tuple(tuple(row) for row in data[name]) for name in _FIELDS})


_FIELDS = ("cluster_cores", "allowed_khz", "working_khz")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and all(item is None or _is_count(item) for item in row) for row in value
    )


def _per_cluster(value: Any) -> PerClusterKhz:
    return tuple(int(khz) if _is_count(khz) and khz > 0 else None for khz in _list(value))


def _list(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list | tuple) else ()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
