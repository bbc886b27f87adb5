"""What TFLite's ``benchmark_model`` prints, read strictly: a text that is not understood is an error, never a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from profiler_agent.errors import AgentOutputError
from profiler_agent.remote_shell import printable

_RUNS = r"[0-9]{1,18}"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_PREFIX = r"^(?:INFO: |I tflite\s*: )?"
_COUNT = re.compile(
    rf"{_PREFIX}count=(?P<count>{_RUNS})(?: first=(?P<first>{_NUMBER}))? curr=(?P<curr>{_NUMBER})"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))?"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
# TensorFlow's stats_calculator.h writes it without a space, and newer builds the percentiles behind it.
_SAME = re.compile(
    rf"{_PREFIX}count=(?P<count>{_RUNS}) curr=(?P<curr>{_NUMBER}) ?\(all same\)"
    rf"(?: p5={_NUMBER} median={_NUMBER} p95={_NUMBER})?\s*$"
)
_ANY_COUNT = re.compile(rf"{_PREFIX}count=")
# How the tool's summary reads: since 2020, and in 2019. Below: in LiteRT's newer tool of the same name.
_SUMMARIES = (
    re.compile(
        rf"{_PREFIX}Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: {_NUMBER}, "
        rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): (?P<avg>{_NUMBER})\s*$"
    ),
    re.compile(
        rf"{_PREFIX}Average inference timings in us: Warmup: {_NUMBER}, Init: (?P<init>{_NUMBER}), "
        rf"(?:no stats|Inference): (?P<avg>{_NUMBER})\s*$"
    ),
)
_LITERT_LINE = re.compile(
    rf"^INFO: \[[^\]]*benchmark_litert_model\.h:[0-9]+\] (?P<what>Model initialization|Inference \(avg\)): +"
    rf"(?P<ms>{_NUMBER}) ms(?: \((?P<count>{_RUNS}) runs\))?\s*$"
)
_LITERT_ROUNDING_US = 5.0  # it tells hundredths of a millisecond
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags: *(?P<flags>.*)$", re.MULTILINE)
_SPEAKS_OF_TIMES = re.compile(r"count=|inference|latency|timings|avg", re.IGNORECASE)
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>\w+) delegate, and the model graph will be (?P<how>completely|partially) executed"
)
_NOT_APPLIED = re.compile(
    r"Though (?P<name>\w+) delegate is (?:explicitly )?applied, the model graph will not be executed"
)
_XNNPACK = "Created TensorFlow Lite XNNPACK delegate"


class ModelRefused(AgentOutputError):
    """The text is understood, and says that it holds no latency of this model. Others are not concerned."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """Attributes:
    run_count: how many runs the average is over.
    average_ms: of the measured runs, without the warm-ups.
    ran_on: what executed the graph, such as ``GPU``, ``GPU (partially)``, ``XNNPACK``.
    is_placed: whether the text tells that; LiteRT's tool tells of the processor's delegate, and not of a GPU.
    """

    run_count: int
    average_ms: float
    min_ms: float
    max_ms: float
    init_ms: float
    ran_on: str
    is_placed: bool = True


@dataclass(frozen=True, kw_only=True)
class _Summary:
    """What the end of the text says again; ``rounding_us`` is how far that may be from the statistics above it."""

    init_us: float
    average_us: float
    rounding_us: float
    run_count: int | None
    is_litert: bool


def parse_benchmark(text: str) -> BenchmarkResult:
    """Read one invocation's output.

    Raises:
        AgentOutputError: the statistics of warm-up and measurement, or the summary, are missing, doubled or do not
            fit each other, or the tool left out what it was asked for.
        ModelRefused: a delegate took none of the model, or the model is too fast for the tool's clock.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    counts = [match for line in lines if (match := _COUNT.match(line) or _SAME.match(line))]
    summaries = _summaries(lines, text)
    is_every_count_known = len(counts) == sum(bool(_ANY_COUNT.match(line)) for line in lines)
    if not is_every_count_known or len(counts) not in (1, 2) or len(summaries) != 1:  # of warm-up and measurement
        raise AgentOutputError(
            f"{len(counts)} lines of statistics ('count=') and {len(summaries)} summaries that we know ('Inference "
            "timings in us:', 'Average inference timings in us:', LiteRT's 'Inference (avg):') are in the output of "
            f"benchmark_model; a run prints two and one. {_seen(lines, text)}"
        )
    (summary,) = summaries
    if (unknown := _UNKNOWN_FLAGS.search(text)) is not None:
        raise AgentOutputError(
            f"This benchmark_model does not know {printable(unknown['flags'], 300)} and left it out; what it timed is "
            "not what was asked for. Use a newer one."
        )
    fields = {key: value for key, value in counts[-1].groupdict().items() if value is not None}
    # Single runs are whole microseconds, so a fast model's shortest one is 0; their mean is not.
    average_us, min_us, max_us = (_time_us(fields.get(key, fields["curr"]), text) for key in ("avg", "min", "max"))
    stated_us, run_count = summary.average_us, int(fields["count"])
    is_same = math.isclose(stated_us, average_us, rel_tol=1e-3, abs_tol=summary.rounding_us)
    is_within = min_us - 1 <= average_us <= max_us + 1
    if not is_same or not is_within or summary.run_count not in (None, run_count):
        raise AgentOutputError(
            f"benchmark_model says avg={average_us} us (min {min_us}, max {max_us}, {run_count} runs) and then "
            f"{stated_us} us ({summary.run_count or run_count} runs); these do not fit each other, so none is used."
        )
    if average_us == 0:
        raise ModelRefused(
            "benchmark_model counts whole microseconds, and every run of this model took less than one. Time a larger "
            "one, or several of its op in a row."
        )
    return BenchmarkResult(
        run_count=run_count,
        average_ms=average_us / 1000.0,
        min_ms=min_us / 1000.0,
        max_ms=max_us / 1000.0,
        init_ms=summary.init_us / 1000.0,
        ran_on=_ran_on(text),
        is_placed=not summary.is_litert or _APPLIED.search(text) is not None,
    )


def _summaries(lines: Sequence[str], text: str) -> list[_Summary]:
    found = [
        _Summary(
            init_us=_time_us(match["init"], text),
            average_us=_time_us(match["avg"], text),
            rounding_us=0.05,
            run_count=None,
            is_litert=False,
        )
        for line in lines
        for pattern in _SUMMARIES
        if (match := pattern.match(line))
    ]
    parts = [match for line in lines if (match := _LITERT_LINE.match(line))]
    if [match["what"] for match in parts] == ["Model initialization", "Inference (avg)"] and parts[1]["count"]:
        init_us, average_us = (1000.0 * _time_us(match["ms"], text) for match in parts)
        found.append(
            _Summary(
                init_us=init_us,
                average_us=average_us,
                rounding_us=_LITERT_ROUNDING_US + 0.01,
                run_count=int(parts[1]["count"]),
                is_litert=True,
            )
        )
    elif parts:
        raise AgentOutputError(f"LiteRT's summary has lines missing or doubled. {_seen(lines, text)}")
    return found


def _seen(lines: Sequence[str], text: str) -> str:
    """The lines that may hold what was looked for, or else the end."""
    telling = [line for line in lines if _SPEAKS_OF_TIMES.search(line)]
    words = "\n".join(telling[-6:]) or text
    return f"What it printed{' of times' if telling else ''}:\n{printable(words, 800)}"


def _time_us(word: str, text: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise AgentOutputError(f"benchmark_model gave {word} us; that is no time. Its end:\n{printable(text, 400)}")
    return value


def _ran_on(text: str) -> str:
    refused = _NOT_APPLIED.search(text)
    if refused is not None:
        raise ModelRefused(
            f"The {refused['name']} delegate took none of the model, so the processor ran it. A latency of the wrong "
            "place is worse than none: leave this op out, or use a device file for the processor."
        )
    applied = [
        match["name"] + (" (partially)" if match["how"] == "partially" else "") for match in _APPLIED.finditer(text)
    ]
    if applied:
        return ", ".join(dict.fromkeys(applied))
    return "XNNPACK" if _XNNPACK in text else "built-in kernels"
