"""Peak memory of search steps against a plain training step: ``python -m benchmarks.memory [--quick] [--json]``.

Each configuration runs in its own process, because a peak cannot be reset. ``step``: what the step adds to the
resident set of a process that has built its modules; ``peak``: the whole process, with torch and the weights of all
candidates, which no estimator saves: its ratio grows with the batch. The batch is 64 at 32 pixels (small) and 8 at 224
(imagenet), but for a last row with as many images as this machine holds on all paths (a GPU of the paper's had 32).
By default glibc keeps much of what is freed, the more the more often buffers come and go, as when paths are recomputed:
one row tells both sides to hand it back at once, and so is of what the steps use. It costs half of the speed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.search_setting import BATCH, StepKind
from search.settings import SearchSettings

FULL_LIMIT, TWO_PATH_LIMIT, FLAT_LIMIT = 1.15, 2.1, 1.1
ALL_PATHS_SAVED, ALL_PATHS_PEAK = 11.0, 8.0
ALL_PATHS_KINDS: tuple[StepKind, StepKind] = ("all-paths", "full")
LARGE_BATCH = 24
REPEATS = 3
MEGABYTE = 1e6
KEEPS_FREED: tuple[tuple[str, str], ...] = ()
HANDS_BACK = (("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536"))
"""Settings of glibc: large buffers are mapped one by one, and their memory is gone when they are freed."""


@cache
def probe(
    outline: str,
    candidate_count: int,
    kind: StepKind,
    repeat: int = 0,
    batch_size: int | None = None,
    allocator: tuple[tuple[str, str], ...] = KEEPS_FREED,
) -> dict[str, int]:
    """Bytes of one configuration; ``repeat`` tells apart runs that are otherwise the same."""
    _ = repeat
    words = [outline, str(candidate_count), kind, *([] if batch_size is None else [str(batch_size)])]
    command = [sys.executable, "-m", "benchmarks.memory_probe", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **dict(allocator)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ratios(outline: str, count: int, kinds: tuple[StepKind, StepKind], field: str, repeats: int) -> list[float]:
    """The first kind over the second, once per repeat, sorted."""
    return sorted(
        probe(outline, count, kinds[0], repeat)[field] / probe(outline, count, kinds[1], repeat)[field]
        for repeat in range(repeats)
    )


def measure(options: Options) -> Iterator[Claim]:
    repeats = 1 if options.quick else REPEATS
    for outline in ("small",) if options.quick else ("small", "imagenet"):
        yield from estimator_claims(outline, 6, repeats)
    yield default_batch_claim(repeats)
    yield from flatness_claims("small", repeats)
    yield from all_paths_claims("small", "saved_bytes", ALL_PATHS_SAVED)
    if not options.quick:
        yield from all_paths_claims("imagenet", "saved_bytes", ALL_PATHS_SAVED)
        yield from all_paths_claims("imagenet", "peak_bytes", ALL_PATHS_PEAK)
        yield handing_back_claim()
        yield large_batch_claim()


def estimator_claims(outline: str, count: int, repeats: int) -> Iterator[Claim]:
    limits: tuple[tuple[StepKind, float], ...] = (("full", FULL_LIMIT), ("two-path", TWO_PATH_LIMIT))
    for kind, limit in limits:
        found = ratios(outline, count, (kind, "plain"), "step_bytes", repeats)
        plain = probe(outline, count, "plain")["step_bytes"] / MEGABYTE
        yield at_most(
            f"{kind} architecture step over a plain training step of one path, step, {outline}, {count} candidates",
            found[len(found) // 2],
            limit,
            unit="ratio",
            spread=(found[0], found[-1]),
            note=f"plain {plain:.0f} MB at batch {BATCH[outline]}",
        )


def default_batch_claim(repeats: int) -> Claim:
    """The estimators above see the training batch; by default an architecture step sees a larger one, at once, since
    batch norm takes its statistics from all of it."""
    kinds: tuple[StepKind, StepKind] = ("full-default-batch", "plain")
    found = ratios("small", 6, kinds, "step_bytes", repeats)
    added = {kind: probe("small", 6, kind)["step_bytes"] / MEGABYTE for kind in kinds}
    settings = SearchSettings(warmup_steps=0, search_steps=1)
    return at_most(
        "full architecture step at its default batch over a plain training step at its own, step, small, 6 candidates",
        found[len(found) // 2],
        FULL_LIMIT * settings.architecture_batch_size / settings.batch_size,
        unit="ratio",
        spread=(found[0], found[-1]),
        note=f"batch {settings.architecture_batch_size}: {added['full-default-batch']:.0f} MB, "
        f"batch {settings.batch_size}: {added['plain']:.0f} MB",
    )


def flatness_claims(outline: str, repeats: int) -> Iterator[Claim]:
    kinds: tuple[StepKind, ...] = ("full", "two-path", "weight")
    for kind in kinds:
        found = sorted(
            probe(outline, 27, kind, repeat)["step_bytes"] / probe(outline, 3, kind, repeat)["step_bytes"]
            for repeat in range(repeats)
        )
        yield at_most(
            f"{kind} step, 27 candidates over 3, step, {outline}",
            found[len(found) // 2],
            FLAT_LIMIT,
            unit="ratio",
            spread=(found[0], found[-1]),
        )


def all_paths_claims(outline: str, field: str, limit: float) -> Iterator[Claim]:
    values = {kind: probe(outline, 12, kind)[field] / MEGABYTE for kind in ALL_PATHS_KINDS}
    step = ratios(outline, 12, ALL_PATHS_KINDS, "step_bytes", 1)[0]
    what = "saved activations" if field == "saved_bytes" else "peak of the process"
    yield at_least(
        f"all paths over full recompute, {what}, {outline}, 12 candidates",
        values["all-paths"] / values["full"],
        limit,
        unit="ratio",
        note=f"{values['all-paths']:.0f} MB against {values['full']:.0f} MB; what the steps add: {step:.1f}x",
    )


def handing_back_claim() -> Claim:
    """The peak without what the allocator keeps."""
    values = {
        kind: probe("imagenet", 12, kind, allocator=HANDS_BACK)["peak_bytes"] / MEGABYTE for kind in ALL_PATHS_KINDS
    }
    return at_least(
        "all paths over full recompute, peak of the process, imagenet, 12 candidates, freed memory handed back at once",
        values["all-paths"] / values["full"],
        ALL_PATHS_PEAK,
        unit="ratio",
        note=f"{values['all-paths']:.0f} MB against {values['full']:.0f} MB",
    )


def large_batch_claim() -> Claim:
    """The peak at a batch near the paper's."""
    name = f"all paths over full recompute, peak of the process, imagenet, 12 candidates, batch {LARGE_BATCH}"
    needed = LARGE_BATCH / BATCH["imagenet"] * probe("imagenet", 12, "all-paths")["peak_bytes"]
    if (available := available_bytes()) < needed:
        reason = f"needs {needed / MEGABYTE:.0f} MB, and {available / MEGABYTE:.0f} MB are free"
        return not_measured(name, f">= {ALL_PATHS_PEAK:g}", reason)
    values = {
        kind: probe("imagenet", 12, kind, batch_size=LARGE_BATCH)["peak_bytes"] / MEGABYTE for kind in ALL_PATHS_KINDS
    }
    return at_least(
        name,
        values["all-paths"] / values["full"],
        ALL_PATHS_PEAK,
        unit="ratio",
        note=f"{values['all-paths']:.0f} MB against {values['full']:.0f} MB",
    )


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024


if __name__ == "__main__":
    run_benchmark("memory", measure)
