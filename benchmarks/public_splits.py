"""New devices that no published task names, and fresh splits that nobody tuned on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured
from benchmarks.public_additive import is_exact_sum
from benchmarks.public_data import PublicSpace
from benchmarks.public_few_shot import FewShotResult, beside, few_shot
from benchmarks.public_files import Absent
from benchmarks.public_tasks import named_devices

_GROUP = 5
_WORDS = ("zero", "one", "two", "three", "four", "five")


def unnamed_devices(spaces: Mapping[str, PublicSpace | Absent], options: Options) -> Iterator[Claim]:
    """Devices that no published task of their space names: up to five at a time are new, all others are sources."""
    seeds = range(1 if options.quick else 5)
    for name, space in spaces.items():
        if isinstance(space, Absent):
            continue  # the published tasks say so
        new = [device for device in space.latency_ms if device not in named_devices(name)]
        if not new:
            continue
        title = f"few-shot {name}, {len(new)} device{'s' * (len(new) > 1)} of no published task"
        size = _group_size(len(space.latency_ms))
        if size == 0:
            yield not_measured(f"{title}, mean Spearman", ">= both baselines", f"{new[0]} is the only device")
            continue
        runs: dict[str, list[FewShotResult]] = {device: [] for device in new}
        for start in range(0, len(new), size):
            targets = new[start : start + size]
            sources = [device for device in space.latency_ms if device not in targets]
            for seed in seeds:
                for device, result in few_shot(space, sources, targets, seed).items():
                    runs[device].append(result)
        yield from _unnamed_claims(title, space, runs)


def _unnamed_claims(title: str, space: PublicSpace, runs: Mapping[str, list[FewShotResult]]) -> Iterator[Claim]:
    results = [result for of_device in runs.values() for result in of_device]
    each = []
    for device, of_device in runs.items():
        ours, rescaled, scratch = (
            float(np.mean([getattr(result, f"{of}spearman") for result in of_device]))
            for of in ("", "rescaled_", "scratch_")
        )
        exact = " exact sum" if is_exact_sum(space.counts, space.latency_ms[device]) else ""
        each.append(f"{device}{exact} {ours:.3f} ({rescaled:.3f}, {scratch:.3f})")
    by_seed = np.mean([[result.spearman for result in of_device] for of_device in runs.values()], axis=0)
    yield at_least(
        f"{title}, mean Spearman, 20 samples",
        _mean(results, "spearman"),
        max(_mean(results, "rescaled_spearman"), _mean(results, "scratch_spearman")),
        unit="rank correlation",
        spread=(float(by_seed.min()), float(by_seed.max())),
        note=f"aim is the better baseline; {beside(results)}; each device (and its baselines): {', '.join(each)}",
    )
    yield at_most(
        f"{title}, MAPE, 20 samples",
        _mean(results, "mape"),
        _mean(results, "rescaled_mape"),
        unit="share",
        note="aim is the best source rescaled",
    )


def fresh_splits(spaces: Mapping[str, PublicSpace | Absent], options: Options) -> Iterator[Claim]:
    """Leave five devices out at random, again and again; exact sums are left out of the targets.

    Of fewer than ten devices half are left out.
    """
    split_count = 1 if options.quick else 24
    for name in ("fbnet", "nasbench201"):
        space = spaces[name]
        if isinstance(space, Absent):
            yield not_measured(f"fresh splits {name}", ">= best source rescaled", space.why)
            continue
        devices = list(space.latency_ms)
        left_out = _group_size(len(devices))
        real = [d for d in devices if not is_exact_sum(space.counts, space.latency_ms[d])]
        results = []
        for split in range(split_count if left_out else 0):
            order = [str(device) for device in np.random.default_rng(1000 + split).permutation(devices)]
            targets = [device for device in order[:left_out] if device in real]
            results += list(few_shot(space, order[left_out:], targets, seed=split).values())
        if results:
            title = f"fresh leave-{_WORDS[left_out]}-out {name}"
            yield from _split_claims(title, results, f"{split_count} splits, {len(results)} targets")
        else:
            why = f"{len(devices)} usable devices in {space.file}, {len(real)} of them measured and no exact sums"
            yield not_measured(f"fresh splits {name}", ">= best source rescaled", why)


def _group_size(device_count: int) -> int:
    """How many devices are new at a time: the others, at least as many, are the sources."""
    return min(_GROUP, device_count // 2)


def _mean(results: list[FewShotResult], field: str) -> float:
    return float(np.mean([getattr(result, field) for result in results]))


def _split_claims(title: str, results: list[FewShotResult], what: str) -> Iterator[Claim]:
    yield at_least(
        f"{title}, mean Spearman",
        _mean(results, "spearman"),
        _mean(results, "rescaled_spearman"),
        unit="rank correlation",
        note=f"{what}; aim is the best source rescaled; ridge from scratch {_mean(results, 'scratch_spearman'):.3f}",
    )
    yield at_most(
        f"{title}, MAPE",
        _mean(results, "mape"),
        _mean(results, "rescaled_mape"),
        unit="share",
        note=f"{what}; aim is the best source rescaled",
    )
    coverage = _mean(results, "coverage")
    yield Claim(
        claim=f"{title}, coverage of 90 % intervals",
        value=coverage,
        unit="share",
        aim="0.88 to 0.92",
        holds=0.88 <= coverage <= 0.92,
        note=f"median half-width {_mean(results, 'half_width'):.1%} of the latency, from 20 samples; "
        f"without rehearsal on the sources {_mean(results, 'own_coverage'):.0%}",
    )
