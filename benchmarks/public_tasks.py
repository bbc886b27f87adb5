"""The seven published few-shot tasks, run with those of their devices that a folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, Options, at_least, not_measured
from benchmarks.public_data import PublicSpace
from benchmarks.public_few_shot import beside, few_shot
from benchmarks.public_files import Absent

_AIM_MEAN = 0.885


@dataclass(frozen=True)
class Task:
    """Source and target devices; ``published`` holds the mean Spearman of HELP, MultiPredict and NASFLAT.
    Source of the splits: Akhauri and Abdelfattah, MLSys 2024, and its released code."""

    space: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    published: tuple[float, float, float]


_HELP_MIX = ("silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1", "samsung_s7")
_GPUS = tuple(f"{gpu}_{n}" for gpu in ("1080ti", "2080ti", "titan_rtx", "titanx", "titanxp") for n in (1, 32, 64))
TASKS = {
    "ND": Task(
        "nasbench201",
        ("1080ti_1", "1080ti_32", "1080ti_256", *_HELP_MIX),
        ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"),
        (0.948, 0.930, 0.959),
    ),
    "FD": Task(
        "fbnet",
        ("1080ti_1", "1080ti_32", "1080ti_64", *_HELP_MIX),
        ("fpga", "raspi4", "eyeriss"),
        (0.910, 0.960, 0.961),
    ),
    "FA": Task("fbnet", _GPUS, ("gold_6226", "essential_ph_1", "samsung_s7", "pixel2"), (0.370, 0.450, 0.577)),
    "F1": Task(
        "fbnet",
        ("2080ti_1", "essential_ph_1", "silver_4114", "titan_rtx_1", "titan_rtx_32"),
        ("eyeriss", "fpga", "raspi4", "samsung_a50", "samsung_s7"),
        (0.793, 0.756, 0.809),
    ),
    "F2": Task(
        "fbnet",
        ("essential_ph_1", "gold_6226", "gold_6240", "pixel3", "raspi4"),
        ("1080ti_1", "1080ti_32", "2080ti_32", "titan_rtx_1", "titanxp_1"),
        (0.543, 0.567, 0.871),
    ),
    "F3": Task(
        "fbnet",
        ("essential_ph_1", "pixel2", "pixel3", "raspi4", "samsung_s7"),
        ("1080ti_1", "1080ti_32", "2080ti_1", "titan_rtx_1", "titan_rtx_32"),
        (0.413, 0.434, 0.814),
    ),
    "F4": Task(
        "fbnet",
        (
            "1080ti_64", "2080ti_1", "eyeriss", "gold_6226", "gold_6240", "raspi4", "samsung_s7", "silver_4210r",
            "titan_rtx_1", "titan_rtx_32",
        ),
        ("1080ti_1", "pixel2", "essential_ph_1"),
        (0.799, 0.763, 0.734),
    ),
}  # fmt: skip


def named_devices(space_name: str) -> frozenset[str]:
    """The devices of a space that any of the seven tasks names."""
    tasks = (task for task in TASKS.values() if task.space == space_name)
    return frozenset(device for task in tasks for device in (*task.sources, *task.targets))


def published_tasks(spaces: Mapping[str, PublicSpace | Absent], options: Options) -> Iterator[Claim]:
    """The seven tasks, mean over seeds, beside the published figures and two trivial baselines."""
    seeds = range(1 if options.quick else 5)
    means, reduced = [], 0
    for name, task in TASKS.items():
        aim = max(task.published)
        space = spaces[task.space]
        if isinstance(space, Absent):
            yield not_measured(f"few-shot {name}, mean Spearman", f">= {aim}", space.why)
            continue
        sources = [device for device in task.sources if device in space.latency_ms]
        targets = [device for device in task.targets if device in space.latency_ms]
        without = space.why_without([*task.sources, *task.targets])
        if not sources or not targets:
            what = "source" if not sources else "target"
            yield not_measured(f"few-shot {name}, mean Spearman", f">= {aim}", f"no {what} device is there: {without}")
            continue
        runs = [few_shot(space, sources, targets, seed) for seed in seeds]
        by_seed = [float(np.mean([result.spearman for result in run.values()])) for run in runs]
        means.append(float(np.mean(by_seed)))
        size, note = "", ""
        if without:
            reduced += 1
            size = (
                f" with {len(sources)} of {len(task.sources)} sources and {len(targets)} of {len(task.targets)} targets"
            )
            note = f"; the published figures are of all devices; {without}"
        yield at_least(
            f"few-shot {name}{size}, mean Spearman, 20 samples",
            means[-1],
            aim,
            unit="rank correlation",
            spread=(min(by_seed), max(by_seed)),
            note=f"published HELP {task.published[0]}, MultiPredict {task.published[1]}, NASFLAT {task.published[2]}; "
            f"{beside([result for run in runs for result in run.values()])}{note}",
        )
    yield _mean_of_tasks(means, reduced)


def _mean_of_tasks(means: list[float], reduced: int) -> Claim:
    if not means:
        return not_measured("few-shot, mean of the seven tasks", f">= {_AIM_MEAN}", "none of the seven could be run")
    what, note = "the seven tasks", "best published mean .818 (NASFLAT)"
    if len(means) < len(TASKS) or reduced:
        what = f"{len(means)} of the seven tasks, {reduced} of them with fewer devices"
        note += ", of all seven with all their devices"
    return at_least(f"few-shot, mean of {what}", float(np.mean(means)), _AIM_MEAN, unit="rank correlation", note=note)
