"""Does the search find good networks? ``python -m benchmarks.search_quality [--quick] [--json] [--data DIR]``.

A search on real CIFAR-10 images in the NAS-Bench-Macro space, three budgets at once, judged by the published accuracy
(three full trainings each) of the networks that it derives. Beside it stands what a user would do instead, at equal
cost: a uniformly trained supernet and the best of k random networks near the budget, or of k that evolve under it,
judged on the same images; and random search with full training, exactly, from the published accuracies of all networks:
with as many trainings as our search and one training of its network cost, and how many until it is as good. All that on
10,000 images; ``benchmarks.search_quality_double`` does it on 20,000.

Each stage (images, latencies, search, baseline) is kept under build/search_quality and taken up where it stopped. The
full benchmark profiles this machine's onnxruntime for latencies and times whole networks too; --quick uses
an analytic device, and shows that everything works rather than how good it is. Seeds are independent, so they run side
by side as processes of one thread each: two threads in one process gain less, and on a busy machine lose.
"""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import Claim, Options, present_commit, run_benchmark
from benchmarks.macro_bench import (
    NEAR,
    MacroBench,
    MeasuredDevice,
    analytic_device,
    cifar10,
    measured_device,
    read_macro_bench,
)
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.scale_search import FORWARD_BACKWARD
from benchmarks.search_alternatives import best_of_random, evolved, train_uniformly
from benchmarks.search_quality_claims import Found, measured_claims, quality_claims, targets_of
from search.allocator import keep_freed_memory
from search.architecture_step import LatencyTarget
from search.batches import SplitData
from search.derive import derive
from search.files import read_json, write_json
from search.settings import SearchSettings
from search.spaces.nas_bench_macro import nas_bench_macro_space
from search.supernet import SuperNet
from search.trainer import SearchFiles, SearchTrainer

BUILD = Path(__file__).resolve().parents[1] / "build" / "search_quality"
ARCHITECTURE_SHARE = 0.8
"""What an image costs in an architecture step (batch 256) beside one in a weight step (batch 64), in CPU time: measured
0.75 at stem stride 2, 0.78 at 1."""
PUBLISHED_TRAINING_IMAGES = 50 * 50_000
"""Of each training of NAS-Bench-Macro: passes over the images of CIFAR-10."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much one run of the benchmark does. ``stem_stride`` 2 halves all feature maps of the supernet. Ours may
    derive in the band of latencies in which the baseline draws."""

    name: str
    image_count: int
    warmup_passes: float
    search_passes: float
    seeds: tuple[int, ...] = (0, 1, 2)
    stem_stride: int = 1
    batch_size: int = 64
    derive_candidates: int = 64
    derive_images: int = 2000
    least_budget_share: float = 1 - NEAR
    is_measured: bool = True

    def settings(self, data: SplitData, seed: int) -> SearchSettings:
        steps_per_pass = data.train_steps_per_pass(self.batch_size)
        return SearchSettings(
            warmup_steps=round(self.warmup_passes * steps_per_pass),
            search_steps=round(self.search_passes * steps_per_pass),
            batch_size=self.batch_size,
            derive_candidates=self.derive_candidates,
            derive_images=self.derive_images,
            least_budget_share=self.least_budget_share,
            seed=seed,
        )


FULL = Plan(name="full", image_count=10_000, warmup_passes=6, search_passes=6, seeds=(0, 1, 2, 3, 4), stem_stride=2)
QUICK = Plan(
    name="quick",
    image_count=1200,
    warmup_passes=1,
    search_passes=1,
    seeds=(0,),
    stem_stride=2,
    derive_candidates=6,
    derive_images=100,
    is_measured=False,
)


def measure(options: Options) -> Iterator[Claim]:
    return measure_plan(QUICK if options.quick else FULL, options.data or DEFAULT_FOLDER)


def measure_plan(plan: Plan, data_folder: Path) -> Iterator[Claim]:
    """Every claim, named with the number of images that it is of."""
    for claim in _claims_of(plan, data_folder):
        yield dataclasses.replace(claim, claim=f"{plan.image_count:,} images: {claim.claim}")


def _claims_of(plan: Plan, data_folder: Path) -> Iterator[Claim]:
    device = measured_device(MeasuredDevice(folder=BUILD / "latency")) if plan.is_measured else analytic_device()
    bench = read_macro_bench(data_folder, device)
    cifar10(data_folder, BUILD, plan.image_count, seed=0)  # decoded once, before several processes want it
    with ProcessPoolExecutor(
        min(len(plan.seeds), os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    ) as processes:
        found = list(processes.map(find, *zip(*((plan, bench, data_folder, seed) for seed in plan.seeds), strict=True)))
    commits = sorted({commit for one in found for commit in one.commits})
    note = (
        f"cost of {found[0].passes:.1f} passes, {len(found)} seed(s), stem stride {plan.stem_stride}; "
        f"stages made by {', '.join(commits)}"
    )
    yield from quality_claims(bench, found, note)
    if plan.is_measured:
        yield from measured_claims(bench, found, MeasuredDevice(folder=BUILD / "latency"))


def find(plan: Plan, bench: MacroBench, data_folder: Path, seed: int) -> Found:
    """One search for all three budgets, and one uniform supernet of the same cost; each kept once done."""
    torch.set_num_threads(1)
    keep_freed_memory()
    data = cifar10(data_folder, BUILD, plan.image_count, seed)
    settings = plan.settings(data, seed)
    folder = BUILD / plan.name / f"seed{seed}-{identity(plan, settings, bench.target)}"
    derived_by = f"{settings.derive_candidates}-{settings.derive_images}-{settings.least_budget_share:g}"
    space, targets = nas_bench_macro_space(stem_stride=plan.stem_stride), targets_of(bench)
    cost = search_cost(settings, len(data.train_index))

    def searched() -> dict[str, Any]:
        trainer = SearchTrainer(space, data, targets, settings, SearchFiles(folder=folder / "search"))
        trainer.resume()
        trainer.run()
        started_s = time.monotonic()
        derivations = {s.target.name: derive(trainer.supernet, s, data, settings) for s in trainer.states}
        return {
            "minutes": {"search": trainer.seconds / 60, "derive": (time.monotonic() - started_s) / 60},
            "derived": {name: one.best.choices for name, one in derivations.items()},
            "argmax": {name: one.argmax for name, one in derivations.items()},
        }

    def uniform_supernet() -> SuperNet:
        longer = dataclasses.replace(settings, warmup_steps=round(cost * data.train_steps_per_pass(plan.batch_size)))
        trainer = SearchTrainer(space, data, targets, longer, SearchFiles(folder=folder / "uniform"))
        train_uniformly(trainer)
        return trainer.supernet

    def drawn() -> dict[str, Any]:
        supernet = uniform_supernet()
        best = {t.name: best_of_random(supernet, bench, t, data, settings) for t in targets}
        return {
            "uniform": {name: one.own for name, one in best.items()},
            "uniform_smoothed": {name: one.smoothed for name, one in best.items()},
        }

    def evolved_too() -> dict[str, Any]:
        supernet = uniform_supernet()
        return {"evolved": {t.name: evolved(supernet, t, data, settings) for t in targets}}

    of_search = stage(folder / f"searched-{derived_by}-smoothed-logits.json", searched)
    kept = [
        of_search,
        stage(folder / f"drawn-{derived_by}-smoothed.json", drawn),
        stage(folder / f"evolved-{derived_by}.json", evolved_too),
    ]
    choices = {
        what: {name: tuple(value) for name, value in one[what].items()}
        for one in kept
        for what in ("derived", "argmax", "uniform", "uniform_smoothed", "evolved")
        if what in one
    }
    return Found(
        **choices,
        passes=cost,
        trainings=search_trainings(settings, len(data.train_index), len(targets)),
        search_minutes=of_search["minutes"]["search"],
        derive_minutes=of_search["minutes"]["derive"],
        commits=frozenset(one.get("commit", "an earlier commit") for one in kept),
    )


def stage(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a stage gave, computed once, with the commit of the code that computed it."""
    if not path.exists():
        write_json(path, {**compute(), "commit": present_commit()})
    return dict(read_json(path))


def identity(plan: Plan, settings: SearchSettings, device: LatencyTarget) -> str:
    """Of everything that decides a search: another plan, setting or device finds no kept one."""
    what = (
        plan.image_count,
        plan.stem_stride,
        settings.identity,
        [ms.tolist() for ms in device.path_latency_ms],
    )
    return hashlib.sha256(repr(what).encode()).hexdigest()[:10]


def search_cost(settings: SearchSettings, image_count: int) -> float:
    """Passes over the training images, with architecture steps counted as the weight steps that take as long."""
    images = settings.total_steps * settings.batch_size
    images += settings.architecture_steps(1) * settings.architecture_batch_size * ARCHITECTURE_SHARE
    return images / image_count


def search_trainings(settings: SearchSettings, image_count: int, target_count: int) -> float:
    """The search with the derivation of all targets, in trainings of the published kind with as many images; an image
    that a network is judged on counts as the forward pass that it is."""
    judged = target_count * settings.derive_candidates * settings.derive_images / FORWARD_BACKWARD
    return (search_cost(settings, image_count) * image_count + judged) / PUBLISHED_TRAINING_IMAGES


if __name__ == "__main__":
    run_benchmark("search_quality", measure)
