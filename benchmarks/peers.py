"""NNI 3.0's ProxylessNAS beside ours, same networks, batch and data: ``python -m benchmarks.peers [--quick] [--json]``.

A step is one weight and one architecture step, batch 64 at 32 pixels, one thread. The programs take turns, so that a
busy machine slows all alike; a turn is six steps, as in a search one follows the other. The first two are not counted:
after a pause of seconds a virtual machine has to find its memory again (on one, half a second of CPU time, whatever
the program). CPU time, medians; a spread is the quartiles of the ratio turn by turn. Neither's steps include loading or
augmenting their batches; ours include the event log.

Like for like is our ``full``: NNI draws one path and runs every other candidate in backward, without grad, for the
gradient of all gates (in weight steps too, where nothing uses it). ``two-path`` is the paper's cheaper estimator, which
NNI has not. NNI is timed as shipped and with channels_last, its candidates made of torch's own modules as its users
write them; and with channels_last, our allocator setting and our quicker modules (``search.depthwise``, ``pointwise``,
``expansion``, ``relu6`` and ``ungraded_block``), which leaves the difference of the two searches alone.

The peers' environment is made in build/peers on first use: up to 15 minutes, in quick mode 100 s, or the rows are not
measured and say why.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.peers_environment import BUILD_LIMIT_S, QUICK_BUILD_LIMIT_S, PeersUnavailable, peers_python

WARM_UPS, TURNS, QUICK_TURNS = 1, 9, 2
UNCOUNTED_STEPS, COUNTED_STEPS = 2, 4
EQUAL_LAYOUT_AIM = {7: 2.5, 13: 3.5}
AS_SHIPPED_AIM = 5.0
NNI_OPTIONS: dict[str, list[str]] = {
    "as shipped": [],
    "equal memory layout": ["--channels-last"],
    "equal layout, allocator and modules": ["--channels-last", "--keep-memory", "--our-modules"],
}
OURS = ("full", "two-path")


class Program:
    """A program that takes one step whenever it is asked."""

    def __init__(self, command: Sequence[str]) -> None:
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[1],
        )

    def answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # NNI writes its log there too
                return dict(json.loads(line))
        self.errors.seek(0)
        raise RuntimeError(f"{self.process.args} ended early:\n{self.errors.read()[-1500:]}")

    def take_turn(self) -> float:
        """CPU milliseconds of its counted steps, their mean."""
        taken = [self.take_step() for _ in range(UNCOUNTED_STEPS + COUNTED_STEPS)]
        return statistics.fmean(step["cpu_ms"] for step in taken[UNCOUNTED_STEPS:])

    def take_step(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def memory(self) -> dict[str, float]:
        """What its steps took; the program ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.answer()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


def contest(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, tuple[list[float], float]]:
    """CPU milliseconds of a step in each program's turns, and the megabytes that its steps added to the process."""
    with ExitStack() as stack:
        programs = {name: stack.enter_context(Program(command)) for name, command in commands.items()}
        for program in programs.values():
            program.answer()
        times: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(WARM_UPS + turns):
            for name, program in programs.items():
                cpu_ms = program.take_turn()
                if turn >= WARM_UPS:
                    times[name].append(cpu_ms)
        return {name: (times[name], program.memory()["step_bytes"] / 1e6) for name, program in programs.items()}


def measure(options: Options) -> Iterator[Claim]:
    try:
        python = peers_python(QUICK_BUILD_LIMIT_S if options.quick else BUILD_LIMIT_S)
    except PeersUnavailable as error:
        yield not_measured("NNI's weight + architecture step over ours", f">= {AS_SHIPPED_AIM:g}", str(error))
        return
    for count in (7,) if options.quick else (7, 13):
        yield from step_claims(str(python), count, QUICK_TURNS if options.quick else TURNS)


def step_claims(python: str, count: int, turns: int) -> Iterator[Claim]:
    space = f"skip-{count}"
    commands = {kind: [sys.executable, "-m", "benchmarks.peers_ours", kind, space] for kind in OURS}
    for name, extra in NNI_OPTIONS.items():
        commands[name] = [python, "-m", "benchmarks.peers_nni", space, *extra]
    found = contest(commands, turns)
    for name in NNI_OPTIONS:
        for kind in OURS:
            (theirs, _), (ours, _) = found[name], found[kind]
            ratios = sorted(one / other for one, other in zip(theirs, ours, strict=True))
            yield at_least(
                f"NNI 3.0 ProxylessNAS {name} over ours {kind}, weight + architecture step, {count} candidates",
                statistics.median(ratios),
                AS_SHIPPED_AIM if name == "as shipped" else EQUAL_LAYOUT_AIM[count],
                unit="ratio",
                spread=(ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]),
                note=f"CPU ms: {statistics.median(theirs):.0f} against {statistics.median(ours):.0f}",
            )
    for kind in OURS:
        yield at_most(
            f"memory that steps add, ours {kind} over NNI 3.0 with equal layout, {count} candidates",
            found[kind][1] / found["equal memory layout"][1],
            1.0,
            unit="ratio",
            note=f"{found[kind][1]:.0f} MB against {found['equal memory layout'][1]:.0f} MB",
        )


if __name__ == "__main__":
    run_benchmark("peers", measure)
