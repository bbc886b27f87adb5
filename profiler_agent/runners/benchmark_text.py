"""What TFLite's ``benchmark_model`` prints, read strictly: a text that is not understood is an error, never a guess."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from profiler_agent.errors import AgentOutputError
from profiler_agent.remote_shell import printable

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_PREFIX = r"^(?:INFO: |I tflite\s*: )?"
_COUNT = re.compile(
    rf"{_PREFIX}count=(?P<count>[0-9]+)(?: first=(?P<first>{_NUMBER}))? curr=(?P<curr>{_NUMBER})"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))?"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
_SAME = re.compile(rf"{_PREFIX}count=(?P<count>[0-9]+) curr=(?P<curr>{_NUMBER}) \(all same\)\s*$")
_SUMMARY = re.compile(
    rf"{_PREFIX}Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<avg>{_NUMBER})\s*$"
)
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
    """

    run_count: int
    average_ms: float
    min_ms: float
    max_ms: float
    init_ms: float
    ran_on: str


def parse_benchmark(text: str) -> BenchmarkResult:
    """Read one invocation's output.

    Raises:
        AgentOutputError: the statistics of warm-up and measurement, or the summary, are missing, doubled or do not
            fit each other.
        ModelRefused: a delegate took none of the model, or the model is too fast for the tool's clock.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    counts = [match for line in lines if (match := _COUNT.match(line) or _SAME.match(line))]
    summaries = [match for line in lines if (match := _SUMMARY.match(line))]
    if not counts or len(counts) > 2 or len(summaries) != 1:  # noqa: PLR2004 - warm-up and measurement
        raise AgentOutputError(
            f"{len(counts)} lines 'count=' and {len(summaries)} lines 'Inference timings in us:' in the output of "
            f"benchmark_model; a run prints two and one. Its end:\n{printable(text, 600)}"
        )
    fields = {key: value for key, value in counts[-1].groupdict().items() if value is not None}
    # Single runs are whole microseconds, so a fast model's shortest one is 0; their mean is not.
    average_us, min_us, max_us = (_time_us(fields.get(key, fields["curr"]), text) for key in ("avg", "min", "max"))
    stated_us = _time_us(summaries[0]["avg"], text)
    fits = math.isclose(stated_us, average_us, rel_tol=1e-3, abs_tol=0.05) and min_us - 1 <= average_us <= max_us + 1
    if not fits:
        raise AgentOutputError(
            f"benchmark_model says avg={average_us} us (min {min_us}, max {max_us}) and then {stated_us} us; these "
            "do not fit each other, so none is used."
        )
    if average_us == 0:
        raise ModelRefused(
            "benchmark_model counts whole microseconds, and every run of this model took less than one. Time a larger "
            "one, or several of its op in a row."
        )
    return BenchmarkResult(
        run_count=int(fields["count"]),
        average_ms=average_us / 1000.0,
        min_ms=min_us / 1000.0,
        max_ms=max_us / 1000.0,
        init_ms=_time_us(summaries[0]["init"], text) / 1000.0,
        ran_on=_ran_on(text),
    )


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
