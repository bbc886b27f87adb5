"""A new device from 20 samples: the seven published tasks, and fresh splits that nobody tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured
from benchmarks.public_data import DEFAULT_FOLDER, PublicSpace, is_exact_sum, read_help_space
from latency_model.evaluate import spearman
from latency_model.features import FloatArray
from latency_model.few_shot.baselines import best_source_rescaled, ridge_from_scratch
from latency_model.few_shot.device_conformal import SourceLabels, own_factor, rehearse, rehearsed_factor
from latency_model.few_shot.items import bag_of_choices, feature_groups, source_table
from latency_model.few_shot.structured_gp import choose_samples, fit_structured_gp

SAMPLE_COUNT = 20
SOURCE_SAMPLES = 900  # per source device, as HELP trains on
_POOL = 2000
_AIM_MEAN = 0.885
# Some NAS-Bench-201 networks are dead (0.003 ms on a phone): their relative error says nothing.
_DEAD_SHARE = 0.05


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


@dataclass(frozen=True)
class FewShotResult:
    """One target device with one seed; Spearman over the networks that were not sampled."""

    spearman: float
    mape: float
    coverage: float
    half_width: float
    own_coverage: float
    rescaled_spearman: float
    rescaled_mape: float
    scratch_spearman: float


def few_shot(
    space: PublicSpace, sources: tuple[str, ...], targets: tuple[str, ...], seed: int, sample_count: int = SAMPLE_COUNT
) -> dict[str, FewShotResult]:
    """Fit each target from ``sample_count`` chosen networks and judge it on all others."""
    rng = np.random.default_rng(seed)
    counts = bag_of_choices(space.choices)
    tables, source_ms, labels = [], [], []
    for source in sources:
        known = np.flatnonzero(np.isfinite(space.latency_ms[source]))
        rows = rng.choice(known, min(SOURCE_SAMPLES, len(known)), replace=False)
        latency_ms = space.latency_ms[source][rows]
        table = source_table(counts[rows], latency_ms)
        tables.append(table)
        labels.append(SourceLabels(rows, latency_ms))
        source_ms.append(latency_ms.mean() * (1.0 + (counts - counts[rows].mean(axis=0)) @ table))
    groups = feature_groups(counts, space.items, np.array(tables))
    chosen = choose_samples(groups, sample_count, pool_size=_POOL, rng=rng)
    scores = rehearse(counts, space.items, np.array(tables), labels, sample_count, rng)
    results = {}
    for target in targets:
        truth = space.latency_ms[target]
        rows = chosen[np.isfinite(truth[chosen])]
        fit = fit_structured_gp(groups, rows, truth[rows])
        rest = np.setdiff1d(np.flatnonzero(np.isfinite(truth)), rows)
        std = fit.standard_deviation_ms()
        predicted = fit.predict_ms()
        widths = (rehearsed_factor(fit, scores, 0.9) * std, own_factor(fit, 0.9) * std)
        rescaled = best_source_rescaled(np.column_stack(source_ms), rows, truth[rows])
        scratch = ridge_from_scratch(counts, rows, truth[rows])
        results[target] = _judge(
            truth[rest], predicted[rest], (widths[0][rest], widths[1][rest]), rescaled[rest], scratch[rest]
        )
    return results


def _judge(
    truth: FloatArray,
    predicted: FloatArray,
    half_widths: tuple[FloatArray, FloatArray],
    rescaled: FloatArray,
    scratch: FloatArray,
) -> FewShotResult:
    half, own_half = half_widths
    alive = truth > _DEAD_SHARE * np.median(truth)
    return FewShotResult(
        spearman=spearman(truth, predicted) or 0.0,
        mape=float(np.mean(np.abs(predicted / truth - 1)[alive])),
        coverage=float(np.mean(np.abs(predicted - truth) <= half)),
        half_width=float(np.median(half / truth)),
        own_coverage=float(np.mean(np.abs(predicted - truth) <= own_half)),
        rescaled_spearman=spearman(truth, rescaled) or 0.0,
        rescaled_mape=float(np.mean(np.abs(rescaled / truth - 1)[alive])),
        scratch_spearman=spearman(truth, scratch) or 0.0,
    )


def published_tasks(options: Options) -> Iterator[Claim]:
    """The seven tasks, mean over seeds, beside the published figures and two trivial baselines."""
    folder = options.data or DEFAULT_FOLDER
    spaces = {name: read_help_space(folder, name) for name in ("nasbench201", "fbnet")}
    seeds = range(2 if options.quick else 5)
    means = []
    for name, task in TASKS.items():
        aim = max(task.published)
        space = spaces[task.space]
        missing = [d for d in (*task.sources, *task.targets) if space is None or d not in space.latency_ms]
        if space is None or missing:
            yield not_measured(
                f"few-shot {name}, mean Spearman", f"> {aim}", f"no {', '.join(missing)} in {folder / 'help'}"
            )
            continue
        runs = [few_shot(space, task.sources, task.targets, seed) for seed in seeds]
        by_seed = [float(np.mean([result.spearman for result in run.values()])) for run in runs]
        means.append(float(np.mean(by_seed)))
        flat = [result for run in runs for result in run.values()]
        yield at_least(
            f"few-shot {name}, mean Spearman, 20 samples",
            means[-1],
            aim,
            unit="rank correlation",
            spread=(min(by_seed), max(by_seed)),
            note=f"published HELP {task.published[0]}, MultiPredict {task.published[1]}, NASFLAT {task.published[2]}; "
            f"best source rescaled {np.mean([r.rescaled_spearman for r in flat]):.3f}, ridge from scratch "
            f"{np.mean([r.scratch_spearman for r in flat]):.3f}; MAPE {np.mean([r.mape for r in flat]):.1%}, "
            f"90 % intervals hold {np.mean([r.coverage for r in flat]):.0%}",
        )
    if len(means) == len(TASKS):
        yield at_least(
            "few-shot, mean of the seven tasks",
            float(np.mean(means)),
            _AIM_MEAN,
            unit="rank correlation",
            note="best published mean .818 (NASFLAT)",
        )


def fresh_splits(options: Options) -> Iterator[Claim]:
    """Leave five devices out at random, again and again; exact sums are left out of the targets."""
    folder = options.data or DEFAULT_FOLDER
    split_count = 3 if options.quick else 8
    for name in ("fbnet", "nasbench201"):
        space = read_help_space(folder, name)
        devices = [] if space is None else list(space.latency_ms)
        if space is None or len(devices) < 8:
            yield not_measured(
                f"fresh splits {name}", "> best source rescaled", f"{len(devices)} devices in {folder / 'help' / name}"
            )
            continue
        real = [d for d in devices if not is_exact_sum(space.choices, space.latency_ms[d])]
        results = []
        for split in range(split_count):
            order = np.random.default_rng(1000 + split).permutation(devices)
            targets = tuple(str(device) for device in order[:5] if device in real)
            results += list(few_shot(space, tuple(map(str, order[5:])), targets, seed=split).values())
        yield from _split_claims(name, results, f"{split_count} splits, {len(results)} targets")


def _split_claims(name: str, results: list[FewShotResult], what: str) -> Iterator[Claim]:
    def mean(field: str) -> float:
        return float(np.mean([getattr(result, field) for result in results]))

    yield at_least(
        f"fresh leave-five-out {name}, mean Spearman",
        mean("spearman"),
        mean("rescaled_spearman"),
        unit="rank correlation",
        note=f"{what}; aim is the best source rescaled; ridge from scratch {mean('scratch_spearman'):.3f}",
    )
    yield at_most(
        f"fresh leave-five-out {name}, MAPE",
        mean("mape"),
        mean("rescaled_mape"),
        unit="share",
        note=f"{what}; aim is the best source rescaled",
    )
    coverage = mean("coverage")
    yield Claim(
        claim=f"fresh leave-five-out {name}, coverage of 90 % intervals",
        value=coverage,
        unit="share",
        aim="0.88 to 0.92",
        holds=0.88 <= coverage <= 0.92,
        note=f"median half-width {mean('half_width'):.1%} of the latency, from 20 samples; without rehearsal on the "
        f"sources {mean('own_coverage'):.0%}",
    )
