"""The JSON lines that the `python` and `native` runners write, read strictly."""

from __future__ import annotations

from typing import Any, NoReturn

from profiler_agent.errors import AgentOutputError
from profiler_agent.journal import is_count, load_object
from profiler_agent.remote_shell import printable
from profiler_agent.runner import Batch, BatchSamples
from profiler_agent.timing import SessionSamples

_HOUR_NS = 3_600_000_000_000
_DAY_S = 86_400


def read_output(output: bytes, batch: Batch) -> BatchSamples:
    """One ``samples`` line per model in order, then ``end``.

    Raises:
        AgentOutputError: a line missing, doubled, out of order, or holding what no clock could give.
    """
    samples: list[dict[str, Any]] = []
    ran_on: str | None = None
    seconds: float | None = None
    start_up_s: float | None = None
    for line in output.split(b"\n"):
        if not line:
            continue
        fields = load_object(line)
        if fields is None or ran_on is not None:
            _refuse(line)
        if fields.get("t") == "samples":
            _check_samples(line, fields, len(samples), batch)
            samples.append(fields)
        elif fields.get("t") == "end":
            ran_on = _ran_on(line, fields, len(samples))
            seconds, start_up_s = _seconds(line, fields, "seconds"), _seconds(line, fields, "start_up_seconds")
        elif fields.get("t") not in ("hello", "begin", "ready"):
            _refuse(line)
    if ran_on is None or len(samples) != len(batch.model_paths):
        raise AgentOutputError(
            f"The runner ended well but gave {len(samples)} of {len(batch.model_paths)} models; nothing was used."
        )
    canary_ms = _samples_ms(samples[-1])
    sessions = tuple(_session(fields, canary_ms) for fields in samples[:-1])
    return BatchSamples(sessions=sessions, ran_on=ran_on, runner_s=seconds, start_up_s=start_up_s)


def culprit_of(output: bytes) -> int | None:
    """The model that was begun and never got ready; None when all that were begun did."""
    begun: int | None = None
    for line in output.split(b"\n"):
        fields = load_object(line)
        if fields is None or not is_count(fields.get("m")):
            continue
        begun = fields["m"] if fields.get("t") == "begin" else None
    return begun


def has_begun(output: bytes) -> bool:
    """Whether any model was begun: before that the runtime is opened."""
    return any((load_object(line) or {}).get("t") == "begin" for line in output.split(b"\n"))


def _check_samples(line: bytes, fields: dict[str, Any], index: int, batch: Batch) -> None:
    bursts, switches = fields.get("burst_ns"), fields.get("switches")
    is_right = (
        set(fields) == {"t", "m", "runs", "burst_ns", "switches"}
        and fields["m"] == index
        and is_count(fields["runs"])
        and fields["runs"] > 0
        and isinstance(bursts, list)
        and isinstance(switches, list)
        and len(bursts) == len(switches) == batch.plan.round_count
        and all(is_count(burst, _HOUR_NS) and burst > 0 for burst in bursts)
        and all(count is None or is_count(count) for count in switches)
    )
    if not is_right:
        _refuse(line, f" where the samples of {batch.model_ids[index]} belong" if index < len(batch.model_ids) else "")


def _ran_on(line: bytes, fields: dict[str, Any], count: int) -> str:
    runtime = fields.get("runtime")
    if fields.get("models") != count or not isinstance(runtime, dict):
        _refuse(line)
    names = runtime.get("ran_on")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        _refuse(line)
    return printable(", ".join(names), 200)


def _seconds(line: bytes, fields: dict[str, Any], key: str) -> float | None:
    seconds = fields.get(key)
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= _DAY_S:
        _refuse(line)
    return float(seconds)


def _samples_ms(fields: dict[str, Any]) -> tuple[float, ...]:
    return tuple(burst_ns / fields["runs"] / 1e6 for burst_ns in fields["burst_ns"])


def _session(fields: dict[str, Any], canary_ms: tuple[float, ...]) -> SessionSamples:
    return SessionSamples(
        samples_ms=_samples_ms(fields),
        runs_per_burst=fields["runs"],
        involuntary_switches=tuple(fields["switches"]),
        canary_ms=canary_ms,
    )


def _refuse(line: bytes, place: str = "") -> NoReturn:
    raise AgentOutputError(
        f"The runner wrote a line{place} that the protocol does not allow: {printable(line[:200])!r}. "
        "Nothing of this job was used."
    )
