"""How much faster than networks made by hand? ``python -m benchmarks.equal_accuracy [--quick] [--json] [--data DIR]``.

The push button on CIFAR-10's images of 32 pixels, this machine's onnxruntime and one budget: profile, search and
derive as ``proxyless run`` does. What it derives is trained beside MobileNetV2-like networks (3x3, expansion 6,
scaled in width) of several latencies, beside networks of each other block that the space offers, scaled to the
budget, and beside random ones just under it: all by one recipe, the test images seen once. All are timed in one
campaign. The speed-up is the latency at which the MobileNetV2-like networks become as accurate as the derived one
(between two of them, linear in the logarithm of the latency) over the derived one's; leads are at equal latency.

Searches, timings and trainings are kept under build/equal_accuracy and taken up where they stopped. ``--quick`` takes
scikit-learn's digits and a minute, and shows that everything works.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.claims import Claim, Options, at_least, run_benchmark
from benchmarks.equal_accuracy_networks import (
    Contest,
    Entrant,
    cifar10_as_npz,
    entrants,
    time_together,
    train_all,
)
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.search_quality_claims import lead_claim
from search.run_settings import Target

BUILD = Path(__file__).resolve().parents[1] / "build" / "equal_accuracy"
AIM_SPEEDUP = 1.8
BUDGET = Target(factor=0.6, reference="mobilenetv2")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A network's latency and its accuracy in per cent, one for each seed of its training."""

    family: str
    name: str
    latency_ms: float
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        return statistics.mean(self.accuracies)

    def __str__(self) -> str:
        each = ", ".join(f"{accuracy:.1f}" for accuracy in self.accuracies)
        return f"{self.name} {self.latency_ms:.4g} ms {self.accuracy:.2f} % ({each})"


def full(data_folder: Path) -> Contest:
    return Contest(
        folder=BUILD,
        data=str(cifar10_as_npz(data_folder / "cifar10" / "cifar10_images.tar.gz", BUILD)),
        preset="standard",
        image_count=20_000,
        budget=BUDGET,
        epochs=10,
        search_seeds=(0, 1),
        train_seeds=(0, 1),
        multiples=(0.8, 1, 1.3, 1.8, 2.5),
        other_blocks=3,
        other_block_seeds=(0, 1),
        random_count=3,
    )


def quick(folder: Path) -> Contest:
    return Contest(
        folder=folder,
        data="digits",
        image_size=16,
        preset="smoke",
        image_count=1500,
        budget=BUDGET,
        epochs=2,
        search_seeds=(0,),
        train_seeds=(0, 1),
        multiples=(1, 1.6),
        other_blocks=0,  # each would be timed in thirty widths
        other_block_seeds=(),
        random_count=2,
    )


def measure(options: Options) -> Iterator[Claim]:
    if not options.quick:
        BUILD.mkdir(parents=True, exist_ok=True)
        yield from claims_of(full(options.data or DEFAULT_FOLDER))
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from claims_of(quick(Path(folder)))


def claims_of(contest: Contest) -> Iterator[Claim]:
    run, found = entrants(contest)
    latency_ms = time_together(run, found, contest.folder / "timed.jsonl")
    accuracies = train_all(contest, found, latency_ms)
    results = [result_of(entrant, latency_ms, accuracies) for entrant in found]
    for result in results:
        print(f"  {result}", flush=True)
    note = f"{contest.image_count:,} images, {contest.epochs:g} passes, {len(contest.search_seeds)} search(es)"
    yield from contest_claims(results, note)


def result_of(entrant: Entrant, latency_ms: Mapping[str, float], accuracies: Mapping[str, Sequence[float]]) -> Result:
    name = entrant.network.name
    return Result(
        family=entrant.family,
        name=name,
        latency_ms=latency_ms[name],
        accuracies=tuple(100 * accuracy for accuracy in accuracies[name]),
    )


def contest_claims(results: Sequence[Result], note: str) -> Iterator[Claim]:
    """The speed-up at equal accuracy, and the leads at equal latency."""
    derived = [one for one in results if one.family == "derived"]
    ladder = sorted((one for one in results if one.family == "mobilenetv2-like"), key=lambda one: one.latency_ms)
    random_ones = [one for one in results if one.family == "random"]
    blocks = [one for one in results if one not in (*derived, *ladder, *random_ones)]
    yield speedup_claim(derived, ladder, note)
    seeds = range(min(len(one.accuracies) for one in (*derived, *ladder)))
    yield lead_claim(
        "lead over MobileNetV2-like networks of the same latency",
        [[one.accuracies[seed] - accuracy_at(one.latency_ms, ladder, seed) for one in derived] for seed in seeds],
        note=f"{', '.join(map(str, derived))} against {', '.join(map(str, ladder))}",
    )
    if blocks:
        best = max(blocks, key=lambda one: one.accuracy)
        yield lead_claim(
            "lead over the best of the networks of one other block at the budget",
            [[one.accuracies[seed] - accuracy for one in derived] for seed, accuracy in enumerate(best.accuracies)],
            note=f"chosen by these very test images: {', '.join(map(str, blocks))}",
        )
    if len(random_ones) > 1:
        yield lead_claim(
            "lead over random networks at the budget",
            [[one.accuracy - other.accuracy for one in derived] for other in random_ones],
            note=f"the error is that of the networks drawn: {', '.join(map(str, random_ones))}",
        )


def speedup_claim(derived: Sequence[Result], ladder: Sequence[Result], note: str) -> Claim:
    """Beyond the slowest or the fastest MobileNetV2-like network there is only a bound, and the note says so."""
    ratios, beyond = [], []
    for one in derived:
        needed_ms = latency_for(one.accuracy, ladder)
        if not ladder[0].latency_ms < needed_ms < ladder[-1].latency_ms:
            beyond.append(f"{one.name}: {'at most' if needed_ms == ladder[0].latency_ms else 'at least'} this")
        ratios.append(needed_ms / one.latency_ms)
    return at_least(
        "latency of a MobileNetV2-like network as accurate as the derived one, over the derived one's",
        statistics.mean(ratios),
        AIM_SPEEDUP,
        unit="ratio",
        spread=(min(ratios), max(ratios)),
        note="; ".join(["the aim is the paper's, for a phone and ImageNet", note, *beyond]),
    )


def latency_for(accuracy: float, ladder: Sequence[Result]) -> float:
    """Milliseconds at which the ladder, the fastest first, first reaches an accuracy: linear in their logarithm between
    neighbours. The fastest's when that one does already, the slowest's when none does."""
    if ladder[0].accuracy >= accuracy:
        return ladder[0].latency_ms
    for below, above in itertools.pairwise(ladder):
        if above.accuracy >= accuracy:
            share = (accuracy - below.accuracy) / (above.accuracy - below.accuracy)
            return below.latency_ms * math.pow(above.latency_ms / below.latency_ms, share)
    return ladder[-1].latency_ms


def accuracy_at(latency_ms: float, ladder: Sequence[Result], seed: int) -> float:
    """The ladder's accuracy at a latency, as trained with one seed: linear in the logarithm of the latency; beyond the
    ends, that of the end."""
    logs = [math.log(one.latency_ms) for one in ladder]
    return float(np.interp(math.log(latency_ms), logs, [one.accuracies[seed] for one in ladder]))


if __name__ == "__main__":
    run_benchmark("equal_accuracy", measure)
