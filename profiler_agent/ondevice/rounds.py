"""The timing loop: warm-ups, then bursts in rounds over shuffled models; raw samples only."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

_WHO = getattr(resource, "RUSAGE_THREAD", None)  # absent outside Linux


class Plan(NamedTuple):
    warmup_runs: int
    burst_warmup_runs: int
    burst_ns: int
    burst_retries: int
    round_count: int
    rest_s: float


class Subject(NamedTuple):
    """A loaded model: ``run_many(n)`` runs it n times and returns when the last result is there. What it returns
    is the time in ns by a better clock than ours (a GPU's events), or None."""

    run_many: Callable[[int], Any]
    runs_per_burst: int


class Sample(NamedTuple):
    burst_ns: int
    involuntary_switches: int | None


def prepare(run_many: Callable[[int], Any], plan: Plan, clock_ns: Callable[[], int] = time.perf_counter_ns) -> Subject:
    """Warm a model up and fit its burst: the fastest of the later warm-ups tells how many runs fill it."""
    run_many(1)
    fastest_ns = None
    for _ in range(plan.warmup_runs):
        took_ns = _timed(run_many, 1, clock_ns)
        fastest_ns = took_ns if fastest_ns is None else min(fastest_ns, took_ns)
    probe_runs = max(1, min(100, plan.burst_ns // (4 * (fastest_ns or 1))))
    # Short runs are overestimated one by one: the clock and the call cost as much.
    per_run_ns = min(fastest_ns or 1, max(1, _timed(run_many, probe_runs, clock_ns) // probe_runs))
    return Subject(run_many, max(1, round(plan.burst_ns / per_run_ns)))


def take_rounds(
    subjects: Sequence[Subject],
    plan: Plan,
    seed: int,
    limit: Callable[[], AbstractContextManager[None]],
) -> list[list[Sample]]:
    """One sample per subject and round, in the order of the subjects; each round has an order of its own."""
    order = list(range(len(subjects)))
    shuffle = random.Random(seed).shuffle
    samples: list[list[Sample]] = [[] for _ in subjects]
    for _ in range(plan.round_count):
        shuffle(order)
        for index in order:
            with limit():
                samples[index].append(sample_burst(subjects[index], plan))
            if plan.rest_s:
                time.sleep(plan.rest_s)  # back-to-back runs heat the SoC and drift upwards
    return samples


def sample_burst(
    subject: Subject,
    plan: Plan,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    switches: Callable[[], int | None] | None = None,
) -> Sample:
    """One burst; one that was preempted is tried again, since it holds another program's time. The best is
    kept: fewest switches first, then the shortest."""
    count_switches = switches or involuntary_switches
    best: Sample | None = None
    for attempt in range(plan.burst_retries + 1):
        if attempt:
            os.sched_yield()  # the retry begins with a time slice of its own
        if warm := min(subject.runs_per_burst, plan.burst_warmup_runs):
            subject.run_many(warm)
        before = count_switches()
        burst_ns = _timed(subject.run_many, subject.runs_per_burst, clock_ns)
        after = count_switches()
        count = None if before is None or after is None else after - before
        sample = Sample(burst_ns, count)
        if best is None or (count or 0, burst_ns) < (best.involuntary_switches or 0, best.burst_ns):
            best = sample
        if not count:
            break
    assert best is not None
    return best


def _timed(run_many: Callable[[int], Any], count: int, clock_ns: Callable[[], int]) -> int:
    start = clock_ns()
    own_ns = run_many(count)
    return own_ns if isinstance(own_ns, int) else max(clock_ns() - start, 1)


def involuntary_switches() -> int | None:
    """How often the kernel took the processor from this thread; None where it does not say."""
    return None if _WHO is None else resource.getrusage(_WHO).ru_nivcsw
