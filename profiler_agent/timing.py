"""Timing: the raw rounds of one model on one device, as they came; statistics are made elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler_agent.clocks import SessionClocks, clocks_from_json, clocks_to_json
from profiler_agent.errors import AgentOutputError
from profiler_agent.load import SessionLoad, load_from_json, load_to_json

SCHEMA = 4  # 2: the sessions' clocks and the core mask; 3: their load; 4: their pace; older ones are read without them
_KNOWN_SCHEMAS = (1, 2, 3, 4)
_LATER_FIELDS = {"clocks": 2, "load": 3, "pace": 4}
_MAX_SAMPLE_MS = 3.6e6  # an hour for one run: nobody waits longer, so a larger number is junk


@dataclass(frozen=True, kw_only=True)
class SessionSamples:
    """One model in one runner process.

    Attributes:
        samples_ms: one per round, in order; each is the time of a burst over the runs in it.
        runs_per_burst: how often the model ran in each burst.
        involuntary_switches: of the measuring thread during each burst; None where it cannot be read.
        canary_ms: the canary model's sample of the same rounds.
        clocks: of the device around this session; None where it tells none.
        load: of other programs during this session; None where it was not looked for.
        pace: how slow the device was in each round, told by all models that ran in it; None where they were few.
    """

    samples_ms: tuple[float, ...]
    runs_per_burst: int
    involuntary_switches: tuple[int | None, ...]
    canary_ms: tuple[float, ...]
    clocks: SessionClocks | None = None
    load: SessionLoad | None = None
    pace: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("samples_ms", "canary_ms"):
            for value in getattr(self, name):
                _require_time(name, value)
        if self.pace is not None:
            _require_paces(self.pace, len(self.samples_ms), len(self.canary_ms))
        if not self.samples_ms or len(self.involuntary_switches) != len(self.samples_ms):
            raise AgentOutputError(
                f"{len(self.samples_ms)} samples but {len(self.involuntary_switches)} switch counts; "
                "there is one of each per round, and at least one round."
            )
        if self.runs_per_burst < 1:
            raise AgentOutputError(f"runs_per_burst is {self.runs_per_burst}; it must be 1 or more.")
        if any(count is not None and count < 0 for count in self.involuntary_switches):
            raise AgentOutputError(f"A negative count in involuntary_switches={self.involuntary_switches}.")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """All sessions of one model, with the device's facts before the first and after the last of them. ``core_mask``
    is the device file's; None: any core."""

    model_id: str
    sessions: tuple[SessionSamples, ...]
    facts_before: dict[str, Any] = field(default_factory=dict)
    facts_after: dict[str, Any] = field(default_factory=dict)
    thread_count: int = 1
    core_mask: str | None = None

    def __post_init__(self) -> None:
        if not self.sessions:
            raise AgentOutputError(f"{self.model_id}: a timing needs at least one session.")
        if self.core_mask is not None and not re.fullmatch("[0-9a-fA-F]{1,256}", self.core_mask):
            raise AgentOutputError(f"{self.model_id}: core_mask is {self.core_mask!r}; it holds hexadecimal digits.")


def timing_to_json(timing: Timing) -> dict[str, Any]:
    """The timing as plain JSON; ``timing_from_json`` reads it back."""
    return {
        "schema": SCHEMA,
        "model_id": timing.model_id,
        "thread_count": timing.thread_count,
        "core_mask": timing.core_mask,
        "sessions": [
            {
                "samples_ms": list(session.samples_ms),
                "runs_per_burst": session.runs_per_burst,
                "involuntary_switches": list(session.involuntary_switches),
                "canary_ms": list(session.canary_ms),
                "clocks": clocks_to_json(session.clocks),
                "load": load_to_json(session.load),
                "pace": None if session.pace is None else list(session.pace),
            }
            for session in timing.sessions
        ],
        "facts_before": timing.facts_before,
        "facts_after": timing.facts_after,
    }


def timing_from_json(data: Mapping[str, Any]) -> Timing:
    """Read a timing back.

    Raises:
        AgentOutputError: another schema, an unknown or missing field, or a value that no clock could give.
    """
    if data.get("schema") not in _KNOWN_SCHEMAS:
        known = ", ".join(map(str, _KNOWN_SCHEMAS))
        raise AgentOutputError(f"Timing has schema {data.get('schema')!r}; this version reads {known}.")
    schema: int = data["schema"]
    names = {"schema", "model_id", "thread_count", "sessions", "facts_before", "facts_after"}
    fields = _exact_fields(data, names | {"core_mask"} if schema > 1 else names, "timing")
    mask = fields.get("core_mask")
    return Timing(
        model_id=_typed(fields["model_id"], str, "model_id"),
        thread_count=_typed(fields["thread_count"], int, "thread_count"),
        core_mask=None if mask is None else _typed(mask, str, "core_mask"),
        sessions=tuple(_session_from_json(item, schema) for item in _typed(fields["sessions"], list, "sessions")),
        facts_before=_typed(fields["facts_before"], dict, "facts_before"),
        facts_after=_typed(fields["facts_after"], dict, "facts_after"),
    )


def _session_from_json(data: Any, schema: int) -> SessionSamples:
    names = {"samples_ms", "runs_per_burst", "involuntary_switches", "canary_ms"}
    names |= {name for name, since in _LATER_FIELDS.items() if schema >= since}
    fields = _exact_fields(_typed(data, dict, "session"), names, "session")
    pace = fields.get("pace")
    switches = _typed(fields["involuntary_switches"], list, "involuntary_switches")
    return SessionSamples(
        samples_ms=tuple(_typed(fields["samples_ms"], list, "samples_ms")),
        runs_per_burst=_typed(fields["runs_per_burst"], int, "runs_per_burst"),
        involuntary_switches=tuple(
            None if count is None else _typed(count, int, "involuntary_switches") for count in switches
        ),
        canary_ms=tuple(_typed(fields["canary_ms"], list, "canary_ms")),
        clocks=clocks_from_json(fields.get("clocks")),
        load=load_from_json(fields.get("load")),
        pace=None if pace is None else tuple(_typed(pace, list, "pace")),
    )


def _exact_fields(data: Mapping[str, Any], names: set[str], what: str) -> Mapping[str, Any]:
    if set(data) != names:
        odd = sorted(set(data) ^ names)
        raise AgentOutputError(f"{what}: field {odd[0]!r} is unknown or missing; it has {', '.join(sorted(names))}.")
    return data


def _typed(value: Any, wanted: type, name: str) -> Any:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise AgentOutputError(f"{name} is {value!r}, not {wanted.__name__}.")
    return value


def _require_paces(pace: Sequence[Any], sample_count: int, canary_count: int) -> None:
    if not len(pace) == sample_count == canary_count:
        raise AgentOutputError(
            f"{len(pace)} paces for {sample_count} samples and {canary_count} of the canary; there is one of each per "
            "round."
        )
    for value in pace:
        if not _is_number(value) or not 0 < value < math.inf:
            raise AgentOutputError(f"pace holds {value!r}; a pace is a finite number above 0.")


def _require_time(name: str, value: Any) -> None:
    if not _is_number(value) or not 0 < value <= _MAX_SAMPLE_MS:
        raise AgentOutputError(f"{name} holds {value!r}; a time is a finite number of ms above 0 and below an hour.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
