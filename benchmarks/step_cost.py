"""What search steps cost beside a plain training step: ``python -m benchmarks.step_cost [--quick] [--json]``.

CPU time of one thread, batch 64 at 32 pixels. Kinds of step are timed in turns in one process. The weight step is the
trainer's own, with its clipping, its checks and its optimiser; a plain step is forward, backward and SGD of the same
network alone. Neither draws its batch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import torch

from benchmarks.claims import Claim, Options, at_most, run_benchmark
from benchmarks.search_setting import analytic_target, make_setting
from search.architecture_step import TargetState
from search.settings import SearchSettings

WEIGHT_LIMIT, LATENCY_LIMIT = 1.1, 0.01
TURNS, QUICK_TURNS = 25, 8
LATENCY_REPEATS = 200
ALLOCATOR_REPEATS = 3


def probe(memory: str, kinds: Sequence[str], turns: int, candidate_count: int = 6) -> dict[str, list[float]]:
    """CPU milliseconds of each kind of step, turn by turn."""
    command = [sys.executable, "-m", "benchmarks.step_probe", "small", str(candidate_count), memory]
    command += [",".join(kinds), str(turns)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def paired(times: dict[str, list[float]], kind: str, base: str) -> list[float]:
    """The ratio in each turn, sorted."""
    return sorted(one / other for one, other in zip(times[kind], times[base], strict=True))


def weight_claim(candidate_count: int, times: dict[str, list[float]], note: str) -> Claim:
    """The search's own weight step, clipping and optimiser included, beside a bare training step of the network."""
    return ratio_claim(
        f"weight step over a plain training step of the same network, small, {candidate_count} candidates",
        paired(times, "weight", "plain"),
        WEIGHT_LIMIT,
        note,
    )


def ratio_claim(claim: str, ratios: Sequence[float], limit: float, note: str) -> Claim:
    spread = (ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4])
    return at_most(claim, statistics.median(ratios), limit, unit="ratio", spread=spread, note=f"{note}; quartiles")


def measure(options: Options) -> Iterator[Claim]:
    turns = QUICK_TURNS if options.quick else TURNS
    times = probe("kept", ("plain", "weight", "full", "two-path"), turns)
    plain_ms = statistics.median(times["plain"])
    architecture = f"two-path {statistics.median(times['two-path']):.0f}, full {statistics.median(times['full']):.0f}"
    yield weight_claim(6, times, f"CPU ms: plain {plain_ms:.0f}, {architecture}")
    yield weight_claim(27, probe("kept", ("plain", "weight"), turns, 27), "weights of 26 of 27 candidates wait")
    latency_ms = latency_loss_ms()
    yield at_most(
        "latency loss and its gradient, share of a weight step, small",
        latency_ms / statistics.median(times["weight"]),
        LATENCY_LIMIT,
        unit="share",
        note=f"{latency_ms:.2f} ms",
    )
    yield from allocator_claim(turns)


def allocator_claim(turns: int) -> Iterator[Claim]:
    """Processes with either setting in turns."""
    pairs = [
        tuple(statistics.median(probe(memory, ["weight"], turns)["weight"]) for memory in ("kept", "released"))
        for _ in range(ALLOCATOR_REPEATS)
    ]
    ratios = sorted(kept / released for kept, released in pairs)
    yield at_most(
        "weight step with freed memory kept in the process over glibc's default",
        statistics.median(ratios),
        1.0,
        unit="ratio",
        spread=(ratios[0], ratios[-1]),
    )


def latency_loss_ms() -> float:
    """Median CPU milliseconds of expected latency and its gradient on the logits."""
    setting = make_setting("small", 6)
    settings = SearchSettings(warmup_steps=0, search_steps=100)
    state = TargetState(setting.space, analytic_target(setting.space, 1.0), settings)
    times = []
    for _ in range(LATENCY_REPEATS):
        started = time.process_time()
        parts = state.latency_loss(state.logits.probabilities())
        torch.autograd.grad(parts.ratio, list(state.logits.positions))
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_benchmark("step_cost", measure)
