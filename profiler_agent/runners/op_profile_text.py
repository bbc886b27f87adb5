"""The per-op profile that TFLite's ``benchmark_model`` prints, its columns learned from the table's own header."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from profiler_agent.errors import AgentOutputError
from profiler_agent.remote_shell import printable

# Before it comes a table of the model's loading; after it, that of the whole graph, then subgraphs' and delegates'.
_STEADY_STATE = "Operator-wise Profiling Info for Regular Benchmark Runs"
_TABLE = " Run Order "
_WANTED = ("node type", "avg ms", "%", "Name")
_NAME = re.compile(r"\[(?P<tensor>.*)\](?::[0-9]+)?|(?P<plain>.*?)(?::[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class OpTime:
    """One line of the per-op profile: what ran, in order. Profiling changes the times; use them to compare.

    Attributes:
        name: of the tensor that the op makes, or as the delegate calls it.
        share: of the whole graph's time, 0 to 1.
    """

    kind: str
    name: str
    average_ms: float
    share: float


def parse_op_profile(text: str) -> tuple[OpTime, ...]:
    """The table 'Run Order' of the whole graph in the steady state. Its columns differ between versions of the tool and
    are separated by tabs, which must still be there.

    Raises:
        AgentOutputError: there is no such table, its header lacks a column, or a line in it is no row.
    """
    _, steady, after = text.rpartition(_STEADY_STATE)
    _, found, rest = after.partition(_TABLE) if steady else text.rpartition(_TABLE)
    lines = rest.splitlines()[1:]
    if not found or not lines:
        raise AgentOutputError(f"No 'Run Order' table in the output of benchmark_model:\n{printable(text, 400)}")
    columns = [word.strip().strip("[]") for word in lines[0].split("\t")]
    if not all(columns.count(name) == 1 for name in _WANTED):
        raise AgentOutputError(
            f"The op profile's header {printable(lines[0].strip(), 300)!r} is not understood; it has one each of "
            f"{', '.join(_WANTED)}, separated by tabs."
        )
    ops = []
    for line in lines[1:]:
        if not line.strip():
            break
        ops.append(_row(line, columns))
    if not ops:
        raise AgentOutputError("The op profile of benchmark_model has no rows.")
    return tuple(ops)


def _row(line: str, columns: list[str]) -> OpTime:
    words = [word.strip() for word in line.split("\t")]
    if len(words) != len(columns):
        _refuse(line)
    fields = dict(zip(columns, words, strict=True))
    match = _NAME.fullmatch(fields["Name"])
    kind = fields["node type"]
    if match is None or not kind:
        _refuse(line)
    return OpTime(
        kind=printable(kind, 200),
        name=printable(match["tensor"] or match["plain"] or "", 300),
        average_ms=_number(fields["avg ms"], line),
        share=_number(fields["%"].removesuffix("%"), line) / 100.0,
    )


def _number(word: str, line: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        _refuse(line)
    return value


def _refuse(line: str) -> NoReturn:
    raise AgentOutputError(f"This line of the op profile is no row: {printable(line.strip(), 300)!r}.")
