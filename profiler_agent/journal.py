"""The agent's journal, read strictly: whole lines, known records, values in range; everything else is an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from profiler_agent.agent_facts import are_facts
from profiler_agent.errors import AgentOutputError
from profiler_agent.remote_shell import printable

PROTOCOL = 1
MAX_LINE_BYTES = 64 << 10
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Hello:
    protocol: int
    agent: str
    session: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class Start:
    id: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """``return_code`` is None for a job that was given up after it took the agent down twice."""

    id: str
    return_code: int | None
    hit_limit: bool
    out_bytes: int | None
    out_sha256: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Bye:
    why: str
    free_kb: int | None = None
    pid: int | None = None
    let_go_rc: int | None = None  # where Android's clocks were fixed: 0 when it let them go


Record: TypeAlias = Hello | Start | Result | Bye


class JournalReader:
    """Turns the bytes behind ``offset`` into records. A line that breaks off is kept for the next call; one that
    broke off because the agent was killed is allowed only where an agent starts anew or runs out of disk."""

    def __init__(self) -> None:
        self.offset = 0
        self._torn: bytes | None = None

    def feed(self, data: bytes) -> list[Record]:
        """Read what was sent from ``offset`` on, and move it past the whole lines.

        Raises:
            AgentOutputError: a line that the protocol does not allow.
        """
        end = data.rfind(b"\n") + 1
        if len(data) - end > MAX_LINE_BYTES:
            raise AgentOutputError(
                f"The journal holds a line longer than {MAX_LINE_BYTES} bytes; no agent of ours wrote it."
            )
        records = [record for line in data[:end].split(b"\n") if line and (record := self._read(line))]
        self.offset += end
        return records

    def _read(self, line: bytes) -> Record | None:
        if len(line) > MAX_LINE_BYTES:
            raise AgentOutputError(
                f"The journal holds a line longer than {MAX_LINE_BYTES} bytes; no agent of ours wrote it."
            )
        fields = None
        if line.endswith(b"}"):
            fields = load_object(line)
        if fields is None:
            if self._torn is not None or not line.startswith(b'{"t":"'[: len(line)]):
                _refuse(line)
            self._torn = line
            return None
        record = _record(line, fields)
        if self._torn is not None and not isinstance(record, Hello | Bye):
            _refuse(self._torn)
        self._torn = None
        return record


def load_object(line: bytes) -> dict[str, Any] | None:
    """One JSON object, strictly: no NaN, no infinity, no doubled keys; None when it is no such thing."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_count(value: object, largest: int = 1 << 62) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _record(line: bytes, fields: dict[str, Any]) -> Record:
    kind = fields.pop("t", None)
    try:
        if kind == "hello":
            hello = Hello(**fields)
            is_right = is_count(hello.protocol) and is_count(hello.pid) and _is_hash(hello.agent)
            return hello if is_right and _is_id(hello.session) else _refuse(line)
        if kind == "start":
            start = Start(**fields)
            return start if _is_id(start.id) else _refuse(line)
        if kind == "res":
            return _result(line, fields)
        if kind == "bye":
            bye = Bye(**fields)
            is_right = bye.why in ("done", "lease", "disk", "signal", "busy")
            counts = (bye.free_kb, bye.pid, bye.let_go_rc)
            return bye if is_right and all(map(_is_count_or_none, counts)) else _refuse(line)
    except TypeError:
        _refuse(line)
    _refuse(line)


def _result(line: bytes, fields: dict[str, Any]) -> Result:
    fields["return_code"] = fields.pop("rc", "missing")
    fields["hit_limit"] = fields.pop("limit", "missing")
    result = Result(**fields)
    is_right = (
        _is_id(result.id)
        and _is_count_or_none(result.return_code)
        and isinstance(result.hit_limit, bool)
        and _is_count_or_none(result.out_bytes)
        and (result.out_sha256 is None or _is_hash(result.out_sha256))
        and all(facts is None or are_facts(facts) for facts in (result.before, result.after))
    )
    return result if is_right else _refuse(line)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_count_or_none(value: object) -> bool:
    return value is None or is_count(value)


def _refuse(line: bytes) -> NoReturn:
    raise AgentOutputError(
        f"The journal holds a line that the protocol does not allow: {printable(line[:200])!r}. Nothing of it was "
        "used. Run `proxyless device clean` for this device and start again."
    )
