"""The `python` runner: times the models of one job in this process, or says what this device can run.

    runner.pyz probe RUNTIME    one JSON line: the interpreter and the runtime's version
    runner.pyz run JOB.json     JSON lines: begin and ready per model, samples per model, end

``seconds`` of the last line count from the kernel's start of this process, where it tells; ``start_up_seconds`` are
those of them that had passed when this file was read (the interpreter's start).

Standard library and one runtime only, Python 3.8 or later: this file travels to the device.
"""

from __future__ import annotations

import faulthandler
import json
import platform
import sys
import time
from typing import Any

from profiler_agent.ondevice import process_start, rounds, runtimes

_STARTED_S = time.monotonic()
_START_UP_S = process_start.start_up_s()
EXIT_BAD_CALL = 64
EXIT_NO_RUNTIME = 65


def emit(record: dict[str, Any]) -> None:
    """One JSON line, flushed: what was written before a crash tells which model caused it."""
    sys.stdout.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()


def probe(runtime_name: str) -> int:
    version = runtimes.installed_version(runtime_name)
    emit(
        {
            "t": "probe",
            "python": platform.python_version(),
            "executable": sys.executable,
            "runtime": runtime_name,
            "package": version[0] if version else None,
            "version": version[1] if version else None,
        }
    )
    return 0 if version else EXIT_NO_RUNTIME


def run(job_path: str) -> int:
    with open(job_path, encoding="utf-8") as file:  # noqa: PTH123 - as small as can be, on old Pythons too
        job = json.load(file)
    options = rounds.Plan(**job["plan"])
    emit({"t": "hello", "python": platform.python_version()})
    runtime = runtimes.open_runtime(job["runtime"])
    subjects = []
    for index, path in enumerate(job["models"]):
        emit({"t": "begin", "m": index})
        with TimeLimit(job["model_limit_s"]):
            subject = rounds.prepare(runtime.load(path, job["seed"]), options)
        emit({"t": "ready", "m": index, "runs": subject.runs_per_burst})
        subjects.append(subject)
    samples = rounds.take_rounds(subjects, options, job["seed"], lambda: TimeLimit(job["model_limit_s"]))
    for index, (subject, taken) in enumerate(zip(subjects, samples)):  # noqa: B905 - Python 3.8 has no strict
        emit(
            {
                "t": "samples",
                "m": index,
                "runs": subject.runs_per_burst,
                "burst_ns": [sample.burst_ns for sample in taken],
                "switches": [sample.involuntary_switches for sample in taken],
            }
        )
    emit(
        {
            "t": "end",
            "models": len(subjects),
            "runtime": runtime.facts(),
            "seconds": _START_UP_S + time.monotonic() - _STARTED_S,
            "start_up_seconds": _START_UP_S,
        }
    )
    return 0


class TimeLimit:
    """Ends the process when the body takes longer: a thread of the interpreter's own C code watches, so that
    a runtime that hangs inside a call is ended too."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s

    def __enter__(self) -> None:
        faulthandler.dump_traceback_later(self.limit_s, exit=True)

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()


def main(argv: list[str]) -> int:
    if len(argv) == 2 and argv[0] == "probe":  # noqa: PLR2004
        return probe(argv[1])
    if len(argv) == 2 and argv[0] == "run":  # noqa: PLR2004
        return run(argv[1])
    sys.stderr.write("usage: runner.pyz probe RUNTIME | run JOB.json\n")
    return EXIT_BAD_CALL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
