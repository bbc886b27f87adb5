"""Measurement files: one JSON line for each measurement, appended and kept."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from latency_model.errors import MeasurementError, SchemaError
from latency_model.measurement import DeviceIdentity, Measurement, MeasurementSet
from latency_model.network import network_from_json, network_to_json
from profiler_agent.device import TimingPlan
from profiler_agent.errors import AgentOutputError
from profiler_agent.stability import StabilityReport, Verdict
from profiler_agent.timing import timing_from_json, timing_to_json

SCHEMA = 3
_READS = (1, 2, 3)  # schema 1 named neither accelerator nor cores, 2 not the untimed runs before each burst
_BEFORE_WARM_BURSTS, _RUNS_THEN = 2, 1
_FIELDS = ("network", "identity", "plan", "timing", "report")
_LINE_START = b'{"schema": '
_WHICH_FILE = "Give the .jsonl file that `proxyless profile` or `proxyless campaign` wrote."


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "network": network_to_json(measurement.network),
        "identity": dataclasses.asdict(measurement.identity),
        "plan": dataclasses.asdict(measurement.plan),
        "timing": timing_to_json(measurement.timing),
        "report": dataclasses.asdict(measurement.report),
    }


def measurement_from_json(data: object) -> Measurement:
    """Read a measurement back.

    Raises:
        SchemaError: a schema that this version does not know.
        MeasurementError: it is something else, or a field is missing, unknown or out of range.
    """
    if not isinstance(data, dict) or "schema" not in data:
        raise MeasurementError(f"This is no measurement. {_WHICH_FILE}")
    if data["schema"] not in _READS:
        raise SchemaError(
            f"Measurement has schema {data['schema']!r}; this version reads schemas up to {SCHEMA}. Update proxyless "
            "if the file is newer."
        )
    if missing := [name for name in _FIELDS if name not in data]:
        raise MeasurementError(f"This is no measurement: it has no {', '.join(missing)}. {_WHICH_FILE}")
    try:
        report = StabilityReport(**data["report"])
        timing = timing_from_json(data["timing"])
        identity = DeviceIdentity(**data["identity"])
        plan = dict(data["plan"])
        if data["schema"] == 1:
            identity = dataclasses.replace(identity, core_mask=timing.core_mask)
        if data["schema"] <= _BEFORE_WARM_BURSTS:
            identity = dataclasses.replace(identity, burst_warmup_runs=_RUNS_THEN)
            plan["burst_warmup_runs"] = _RUNS_THEN
        measurement = Measurement(
            network=network_from_json(data["network"]),
            identity=identity,
            plan=TimingPlan(**plan),
            timing=timing,
            report=report,
        )
    except AgentOutputError as error:
        raise MeasurementError(f"{error} Remove the line and measure it again.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"Not a measurement: {error!r}. Remove the line and measure it again.") from error
    _check_report(report)
    return measurement


def _check_report(report: StabilityReport) -> None:
    if report.verdict not in get_args(Verdict):
        raise MeasurementError(f"Verdict {report.verdict!r}; use one of {', '.join(get_args(Verdict))}.")
    for name, may_be_0 in (("latency_ms", False), ("median_ms", False), ("spread", True)):
        value = getattr(report, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value < 0 or (value == 0 and not may_be_0):
            limit = "0 or more" if may_be_0 else "above 0"
            raise MeasurementError(
                f"{name} is {value!r}; it must be a finite number {limit}. Remove the line and measure it again."
            )


def append_measurement(path: Path, measurement: Measurement) -> None:
    """Add one line and wait until the disk has it; a torn last line is closed first.

    Raises:
        OSError: the disk is full or the file cannot be written; what stood there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(measurement_to_json(measurement), allow_nan=False) + "\n"
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def require_appendable(path: Path) -> None:
    """Raise before anything is timed that nobody could keep; leaves no file behind that was not there.

    Raises:
        OSError: the file, or its folder, cannot be written.
    """
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


def read_measurements(path: Path) -> MeasurementSet:
    """Read a measurement file; a torn line, as a broken write leaves it, is left out.

    Raises:
        MeasurementError: no such file, a file of something else, or a line that is no measurement.
        MixedMeasurementsError: measurements of several devices, runtimes or thread counts.
        SchemaError: a line written by a later version.
    """
    if not path.is_file():
        raise MeasurementError(f"No measurements at {path}. Make them with `proxyless profile`, or check the path.")
    found = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            if _is_torn(line):
                continue
            raise MeasurementError(_why_no_json(path, number, lines, error)) from error
        try:
            found.append(measurement_from_json(data))
        except (MeasurementError, SchemaError) as error:
            raise type(error)(f"{path}, line {number}: {error}") from error
    return MeasurementSet(tuple(found))


def _is_torn(line: bytes) -> bool:
    """Whether a line that is no JSON begins as ours do: then the power went, or the disk was full."""
    return line.startswith(_LINE_START[: len(line)])


def _why_no_json(path: Path, number: int, lines: Sequence[bytes], error: ValueError) -> str:
    """A line that strayed into a file of ours can go; without any line of ours it is another kind of file."""
    if any(line.startswith(_LINE_START) for line in lines):
        return f"{path}, line {number}: no JSON ({error}). Remove the line; the others stay."
    return f"{path} is no measurements file (line {number} is no JSON: {error}). {_WHICH_FILE}"
