"""What ``search_quality`` says of the networks that were found, by published accuracies and measured latencies."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, at_least, at_most
from benchmarks.macro_bench import MacroBench, MeasuredDevice, measure_networks
from benchmarks.search_alternatives import trainings_to_equal
from search.architecture_step import LatencyTarget
from search.space import Choices

PERCENTILES = (25, 50, 75)
LARGEST_REGRET, LEAST_PERCENTILE, LONGEST_MINUTES = 0.5, 95.0, 90.0
COMPARED_NETWORKS = 16
SAME_LATENCY = 0.02


@dataclass(frozen=True)
class Found:
    """What one seed found for each budget, with our search and with the baselines, and what that cost.

    Attributes:
        uniform: on a uniform supernet, the best of random networks by their own losses.
        uniform_smoothed: of the same networks, once similar ones have corrected each other's losses as in our search.
        passes: over the training images, of the search; the uniform supernet's are as many.
        search_minutes: of one core, for all budgets together.
        derive_minutes: of one core, for judging what was derived for all budgets.
        commits: of the code that made the stages.
    """

    derived: dict[str, Choices]
    argmax: dict[str, Choices]
    uniform: dict[str, Choices]
    uniform_smoothed: dict[str, Choices]
    evolved: dict[str, Choices]
    passes: float
    search_minutes: float
    derive_minutes: float
    commits: frozenset[str]


def targets_of(bench: MacroBench) -> list[LatencyTarget]:
    return [
        dataclasses.replace(bench.target, name=f"{percentile}th", target_ms=bench.budget_ms(percentile))
        for percentile in PERCENTILES
    ]


def quality_claims(bench: MacroBench, found: Sequence[Found], note: str) -> Iterator[Claim]:
    regrets, percentiles, trainings = [], [], []
    leads: dict[str, list[list[float]]] = {
        "best of random on a uniform supernet": [],
        "best of random on a uniform supernet, similar networks correcting each other": [],
        "evolution on a uniform supernet": [],
        "median random": [],
        "largest": [],
    }
    for one in found:
        for of_seed in leads.values():
            of_seed.append([])
        for target in targets_of(bench):
            near, within = bench.near(target.target_ms), bench.within(target.target_ms)
            accuracy = bench.accuracy[bench.row(one.derived[target.name])]
            regrets.append(float(bench.accuracy[within].max() - accuracy))
            percentiles.append(float(100 * (bench.accuracy[near] <= accuracy).mean()))
            largest = within[bench.parameter_count[within].argmax()]
            leads["best of random on a uniform supernet"][-1].append(
                accuracy - bench.accuracy[bench.row(one.uniform[target.name])]
            )
            leads["best of random on a uniform supernet, similar networks correcting each other"][-1].append(
                accuracy - bench.accuracy[bench.row(one.uniform_smoothed[target.name])]
            )
            leads["evolution on a uniform supernet"][-1].append(
                accuracy - bench.accuracy[bench.row(one.evolved[target.name])]
            )
            trainings.append(trainings_to_equal(bench, target, float(accuracy)))
            leads["median random"][-1].append(accuracy - float(np.median(bench.accuracy[near])))
            leads["largest"][-1].append(accuracy - bench.accuracy[largest])
            print(describe(bench, one, target), flush=True)
    yield at_most(
        "regret to the best network within the budget, mean",
        statistics.mean(regrets),
        LARGEST_REGRET,
        unit="points",
        spread=(min(regrets), max(regrets)),
        note=note,
    )
    yield at_least(
        "percentile among the networks within 5 % under the budget, mean",
        statistics.mean(percentiles),
        LEAST_PERCENTILE,
        unit="percentile",
        spread=(min(percentiles), max(percentiles)),
    )
    yield at_least(
        "random networks under the budget to be trained in full until one is as good, mean",
        statistics.mean(trainings),
        1.0,
        unit="trainings",
        spread=(min(trainings), max(trainings)),
        note="each costs more than the search: the published ones took 50 passes over 50,000 images, the search "
        f"{found[0].passes:.0f} over fewer",
    )
    yield at_most(
        "search of all three budgets with derivation, one seed on one core, largest",
        max(one.search_minutes + one.derive_minutes for one in found),
        2 * LONGEST_MINUTES,
        unit="minutes",
        note="the aim is 1.5 hours on two cores; the other core ran another seed",
    )
    for name, of_seeds in leads.items():
        yield lead_claim(f"lead over: {name}", of_seeds)


def lead_claim(claim: str, of_seeds: Sequence[Sequence[float]], note: str = "") -> Claim:
    """The mean lead, which is to be above its own standard error. The budgets of one seed share a supernet, so the
    error is that of the seeds' means (of one seed alone, that of its budgets)."""
    of_seeds = [leads for leads in of_seeds if leads]
    leads = [lead for leads in of_seeds for lead in leads]
    means = [statistics.mean(leads) for leads in of_seeds] if len(of_seeds) > 1 else leads
    error = statistics.stdev(means) / len(means) ** 0.5
    mean = statistics.mean(means)
    return Claim(
        claim=claim,
        value=float(mean),
        unit="points",
        aim=f"> its standard error, {error:.2f}",
        holds=bool(mean > error),
        spread=(float(min(leads)), float(max(leads))),
        note=note,
    )


def describe(bench: MacroBench, found: Found, target: LatencyTarget) -> str:
    """One line per budget: every choice with its published accuracy."""
    near, within = bench.near(target.target_ms), bench.within(target.target_ms)
    best = bench.choices[within[bench.accuracy[within].argmax()]]

    def named(choices: Choices) -> str:
        row = bench.row(choices)
        return f"{''.join(map(str, choices))} {bench.accuracy[row]:.2f} at {bench.latency_ms[row]:.4g} ms"

    return (
        f"  {target.name} ({target.target_ms:.4g} ms, {len(near)} networks near): "
        f"derived {named(found.derived[target.name])}; "
        f"argmax {named(found.argmax[target.name])}; uniform {named(found.uniform[target.name])}; "
        f"smoothed {named(found.uniform_smoothed[target.name])}; evolved {named(found.evolved[target.name])}; "
        f"best {named(best)}; median near {np.median(bench.accuracy[near]):.2f}; "
        f"largest {bench.accuracy[within[bench.parameter_count[within].argmax()]]:.2f}"
    )


def measured_claims(bench: MacroBench, found: Sequence[Found], device: MeasuredDevice) -> Iterator[Claim]:
    """Networks of the same measured latency: a search exploits the error of the table it has seen."""
    over_random: list[list[float]] = [[] for _ in found]
    over_uniform: list[list[float]] = [[] for _ in found]
    overshoot = []

    def accuracy(choices: Choices) -> float:
        return float(bench.accuracy[bench.row(choices)])

    for target in targets_of(bench):
        near = [bench.choices[row] for row in bench.near(target.target_ms)]
        others = random.Random(target.name).sample(near, min(len(near), COMPARED_NETWORKS))
        chosen = [choices for one in found for choices in (one.derived[target.name], one.uniform[target.name])]
        measured_ms = measure_networks(device, [*others, *chosen])
        known = [one for one in others if one in measured_ms]
        for seed, one in enumerate(found):
            derived, uniform = one.derived[target.name], one.uniform[target.name]
            if derived not in measured_ms:
                continue
            overshoot.append(measured_ms[derived] / target.target_ms - 1)
            slowest_ms = measured_ms[derived] * (1 + SAME_LATENCY)
            if matched := [accuracy(other) for other in known if measured_ms[other] <= slowest_ms]:
                over_random[seed].append(accuracy(derived) - float(np.median(matched)))
            allowed_ms = max(target.target_ms, measured_ms.get(uniform, 0.0)) * (1 + SAME_LATENCY)
            if measured_ms[derived] <= allowed_ms:
                over_uniform[seed].append(accuracy(derived) - accuracy(uniform))
    yield lead_claim("lead over the median random network of the same measured latency", over_random)
    yield lead_claim(
        "lead over: best of random on a uniform supernet, where ours meets the budget or is no slower as measured",
        over_uniform,
        note=f"{sum(map(len, over_uniform))} of {len(found) * len(PERCENTILES)} cases",
    )
    yield at_most(
        "measured latency of the derived networks over their budget, mean",
        statistics.mean(overshoot),
        0.03,
        unit="share",
        spread=(min(overshoot), max(overshoot)),
    )
