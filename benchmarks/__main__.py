"""Runs every benchmark, each in processes of its own, and keeps what the full ones print in benchmarks/results/.

``python -m benchmarks [--quick [--minutes M]] [--only NAME ...]``. Full ones run one after another, the shortest
first, and end within two hours in all. On a fresh machine the four with long searches do not fit into that: they come
last, keep what they have done under build/, and go on from there at the next run. Quick ones are there to show that
they run: two at a time, and with ``--minutes`` those alone that this time holds, from another one on each day, so that
within some days all have run; the others are named. The README's table is made from the kept results
(``python -m benchmarks.readme_table``).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import NO_ERROR

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
TOTAL_LIMIT_S, LIMIT_S = 7200.0, 3600.0
QUICK_LIMIT_S = 240.0
"""Of one benchmark. Two minutes are what each may take on a core of its own; here another one runs beside it."""
QUICK_AT_ONCE = 2
RESUMING = ("equal_accuracy", "specialisation", "search_quality", "search_quality_double")
"""They keep the stages of their searches."""
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Run:
    """One benchmark, run or stopped. ``problem`` is None when it came to its end, whatever it found; ``is_stopped``
    says that its time, or that of all together, was over."""

    name: str
    seconds: float
    problem: str | None = None
    is_stopped: bool = False


class Program:
    """A benchmark at work."""

    def __init__(self, name: str, limit_s: float, *, quick: bool) -> None:
        self.name, self.limit_s = name, limit_s
        self.output = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed in stop
        one_core = {"OMP_NUM_THREADS": "1"} if quick else {}  # of those that run side by side
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", "--json", *(["--quick"] if quick else [])],
            cwd=FOLDER.parent,
            stdout=self.output,
            start_new_session=True,
            env={**one_core, **os.environ},
        )
        self.started = time.monotonic()

    def outcome(self) -> tuple[Run, list[str]] | None:
        """The run and its lines once it has ended or its time is over; None before."""
        seconds, code = time.monotonic() - self.started, self.process.poll()
        if code is None and seconds < self.limit_s:
            return None
        self.output.seek(0)
        lines = self.output.read().splitlines()
        self.stop()
        problem = None
        if code is None:
            problem = f"stopped after {seconds:.0f} s"
            problem += "; the next run goes on from there" if self.name in RESUMING else ""
        elif code != 0:
            problem = f"ended with {code}"
        else:
            problem = what_is_wrong(json.loads(lines[-1]) if lines else {"claims": []})
        return Run(name=self.name, seconds=seconds, problem=problem, is_stopped=code is None), lines

    def stop(self) -> None:
        """End it with all that it has started: peers, workers, busy loops."""
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()


def what_is_wrong(report: dict[str, Any]) -> str | None:
    """A benchmark that survives an error of its own says so in a claim; here that is no result."""
    if not report["claims"]:
        return "made no claim"
    errors = [claim["note"] for claim in report["claims"] if claim["aim"] == NO_ERROR and not claim["holds"]]
    return "; ".join(errors) or None


def benchmark_names() -> list[str]:
    """The modules that a person can run as a benchmark."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\n    run_benchmark(" in path.read_text())


def in_order(names: Sequence[str]) -> list[list[str]]:
    """The shortest first, by what the kept ones took, so that two hours hold as many as they can."""

    def seconds(name: str) -> float:
        kept = RESULTS / f"{name}.json"
        return float(json.loads(kept.read_text())["seconds"]) if kept.exists() else LIMIT_S

    return [[name] for name in sorted(names, key=lambda name: (name in RESUMING, seconds(name)))]


def side_by_side(names: Sequence[str]) -> list[list[str]]:
    """Those that share the environment of the peers, which the first of them makes, stay one after another."""
    peers = [name for name in names if name.startswith("peers")]
    return [group for group in (peers, *([name] for name in names if name not in peers)) if group]


def from_another_each_day(groups: Sequence[list[str]], day: int) -> list[list[str]]:
    """The same groups from another first one on: what a short time never reaches in one order comes in another."""
    first = day % len(groups)
    return [*groups[first:], *groups[:first]]


def run_groups(
    groups: Sequence[Sequence[str]], limit_s: Callable[[], float], *, quick: bool, at_once: int
) -> list[Run]:
    """Run groups of benchmarks, so many groups at a time, each with the limit that is asked for as it starts."""
    waiting, runs = [list(group) for group in groups], list[Run]()
    active: list[tuple[Program, list[str]]] = []
    try:
        while waiting or active:
            while waiting and len(active) < at_once:
                if (limit := limit_s()) <= 0:
                    runs += [
                        Run(name=name, seconds=0, problem="not begun", is_stopped=True)
                        for group in waiting
                        for name in group
                    ]
                    waiting = []
                    break
                name, *rest = waiting.pop(0)
                print(f"-- {name}", flush=True)
                active.append((Program(name, limit, quick=quick), rest))
            time.sleep(POLL_S)
            for program, rest in list(active):
                if (outcome := program.outcome()) is None:
                    continue
                active.remove((program, rest))
                run, lines = outcome
                runs.append(run)
                keep(run, lines, quick=quick)
                if rest:
                    waiting.insert(0, rest)
    finally:
        for program, _ in active:
            program.stop()
    return runs


def keep(run: Run, lines: Sequence[str], *, quick: bool) -> None:
    """Show what a benchmark printed; the last line of a whole one is its result."""
    printed = lines if run.problem else lines[:-1]
    print("\n".join([f"== {run.name}, {run.seconds:.0f} s{', ' + run.problem if run.problem else ''}", *printed]))
    if not quick and not run.problem:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{run.name}.json").write_text(json.dumps(json.loads(lines[-1]), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="each benchmark in its short form; keeps no results")
    parser.add_argument("--only", nargs="*", choices=benchmark_names(), help="these alone")
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="with --quick: of all together; those that do not fit are named and are no failure",
    )
    arguments = parser.parse_args()
    names = arguments.only or benchmark_names()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended too
    started = time.monotonic()
    if arguments.quick:
        ends = started + 60 * arguments.minutes
        groups = side_by_side([name for group in in_order(names) for name in group])
        if math.isfinite(arguments.minutes):
            groups = from_another_each_day(groups, datetime.date.today().toordinal())
        runs = run_groups(
            groups,
            lambda: min(QUICK_LIMIT_S, ends - time.monotonic()),
            quick=True,
            at_once=QUICK_AT_ONCE,
        )
        if math.isfinite(arguments.minutes):
            print(f"no time was left for {', '.join(run.name for run in runs if run.is_stopped) or 'none'}")
            runs = [run for run in runs if not run.is_stopped]
    else:
        ends = started + TOTAL_LIMIT_S
        runs = run_groups(in_order(names), lambda: min(LIMIT_S, ends - time.monotonic()), quick=False, at_once=1)
    failed = [f"{run.name} ({run.problem})" for run in runs if run.problem]
    print(f"{len(runs) - len(failed)} of {len(runs)} benchmarks ran, {(time.monotonic() - started) / 60:.1f} minutes")
    if failed:
        sys.exit(f"these did not come to their end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
