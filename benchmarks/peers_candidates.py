"""All paths in memory, NNI 3.0's DARTS and ours, beside our steps: ``python -m benchmarks.peers_candidates [--quick]``.

One architecture step, batch 64 at 32 pixels, one thread, with 3 to 27 candidates at each position: MBConvs of expansion
6 with kernels 3, 5, 7, none of them skip. The programs take turns as in ``peers``; CPU time is the median of the ratios
turn by turn, memory is what the steps add to the process at its peak. Our all-paths step (``all_paths``) computes
gradients of the logits alone and has no optimiser, NNI's those of the weights too, as it always does; ours include the
latency's gradient and the optimiser of the logits. All of ours keep freed memory in the process.
NNI runs as shipped, and with our memory layout and allocator setting. Aims are for 15 candidates; the quick run stops
at 6 and leaves NNI as shipped out. Without build/peers see ``peers``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.claims import Claim, Options, at_least, not_measured, run_benchmark
from benchmarks.peers import contest
from benchmarks.peers_environment import (
    BUILD_LIMIT_S,
    QUICK_BUILD_LIMIT_S,
    PeersUnavailable,
    peers_python,
    peers_versions,
)

COUNTS, QUICK_COUNTS = (3, 6, 9, 15, 27), (3, 6)
JUDGED_COUNT = 15
TURNS, QUICK_TURNS = 3, 1
TIME_AIM, MEMORY_AIM = 10.0, 8.0
OURS = ("full", "two-path")
OUR_ALL_PATHS = "our all paths"
NNI_OPTIONS: dict[str, list[str]] = {
    "NNI 3.0's DARTS as shipped": [],
    "NNI 3.0's DARTS with equal layout and allocator": ["--channels-last", "--keep-memory"],
}

Found = Mapping[str, tuple[Sequence[float], float]]
"""CPU milliseconds turn by turn, and the megabytes that steps added, of each program."""


def measure(options: Options) -> Iterator[Claim]:
    counts = QUICK_COUNTS if options.quick else COUNTS
    nni, note = dict[str, list[str]](), "NNI runs beside them"
    try:
        python = str(peers_python(QUICK_BUILD_LIMIT_S if options.quick else BUILD_LIMIT_S))
    except PeersUnavailable as error:
        for name in NNI_OPTIONS:
            yield not_measured(f"{name} over ours, time", f">= {TIME_AIM:g}", str(error))
            yield not_measured(f"{name} over ours, memory that steps add", f">= {MEMORY_AIM:g}", str(error))
    else:
        note = peers_versions(python)
        names = list(NNI_OPTIONS)[1:] if options.quick else list(NNI_OPTIONS)
        nni = {name: [python, "-m", "benchmarks.peers_nni_darts", *NNI_OPTIONS[name]] for name in names}
    found = {count: contest(commands(nni, count), QUICK_TURNS if options.quick else TURNS) for count in counts}
    yield from claims(found, min(JUDGED_COUNT, counts[-1]), note)


def commands(nni: Mapping[str, Sequence[str]], count: int) -> dict[str, Sequence[str]]:
    ours = {name: [sys.executable, "-m", "benchmarks.peers_architecture", name, str(count)] for name in OURS}
    all_paths = [sys.executable, "-m", "benchmarks.peers_architecture", "all-paths", str(count)]
    peers = {name: [*command, f"plain-{count}"] for name, command in nni.items()}
    return {**ours, OUR_ALL_PATHS: all_paths, **peers}


def claims(found: Mapping[int, Found], judged: int, note: str) -> Iterator[Claim]:
    """A row for time and one for memory of everybody with all paths over each of our steps."""
    for name in [name for name in found[judged] if name not in OURS]:
        for kind in OURS:
            ratios = time_ratios(found[judged], name, kind)
            curve = [f"{statistics.median(time_ratios(found[count], name, kind)):.1f}" for count in found]
            all_ms, our_ms = (statistics.median(found[judged][which][0]) for which in (name, kind))
            yield at_least(
                f"{name} over ours {kind}, architecture step, {judged} candidates, time",
                statistics.median(ratios),
                TIME_AIM,
                unit="ratio",
                spread=(ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]),
                note=f"CPU ms: {all_ms:.0f} against {our_ms:.0f}; {by_candidates(found, curve)}; {note}",
            )
            memory = {count: one[name][1] / one[kind][1] for count, one in found.items()}
            curve = [f"{ratio:.1f}" for ratio in memory.values()]
            yield at_least(
                f"{name} over ours {kind}, architecture step, {judged} candidates, memory that steps add",
                memory[judged],
                MEMORY_AIM,
                unit="ratio",
                note=f"{found[judged][name][1]:.0f} MB against {found[judged][kind][1]:.0f} MB; "
                f"{by_candidates(found, curve)}",
            )


def time_ratios(found: Found, name: str, kind: str) -> list[float]:
    """Of each turn, sorted."""
    return sorted(one / other for one, other in zip(found[name][0], found[kind][0], strict=True))


def by_candidates(found: Mapping[int, Found], curve: Sequence[str]) -> str:
    return f"with {', '.join(map(str, found))} candidates: {', '.join(curve)}"


if __name__ == "__main__":
    run_benchmark("peers_candidates", measure)
