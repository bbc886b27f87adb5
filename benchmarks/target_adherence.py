"""How near a search lands to its target: ``python -m benchmarks.target_adherence [--quick] [--data PREDICTOR]``.

Real searches on scikit-learn's digits in the small space, one set of settings for all targets and search lengths;
networks are derived at the default, between 95 % of the target and the target (where the best one leaves more than 1 %
unused, that is by choice), and again between 99 % and the target.
``--quick`` takes two of the five targets, both in one search.
Latencies come from the predictor folder given with --data, else from a stated analytic device (20 GMAC/s, a fifth of it
for depthwise convolutions, 10 us a kernel).
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.claims import Claim, Options, at_most, run_benchmark
from benchmarks.search_setting import analytic_target
from latency_model.network_latency import load_network_latency
from search.architecture_step import LatencyTarget
from search.batches import SplitData, split_data
from search.budget import latency_range_ms
from search.data.load import load_dataset
from search.derive import derive
from search.files import read_json_lines
from search.settings import Estimator, SearchSettings
from search.space import SearchSpace
from search.spaces.small import small_space
from search.steps.search import latency_target
from search.trainer import SearchFiles, SearchTrainer

REACH = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The targets, as shares of the way from the fastest network to the slowest."""
SETTINGS = SearchSettings(
    warmup_steps=50,
    search_steps=120,
    batch_size=32,
    architecture_batch_size=64,
    held_out_fraction=0.3,
    derive_candidates=16,
    derive_images=400,
)
ESTIMATORS: tuple[Estimator, ...] = ("two-path", "reinforce")
"""Beside full gates, the default."""
LONG_FACTOR = 5
WITHIN, CLOSELY_WITHIN = 1 - SETTINGS.least_budget_share, 0.01


@dataclass(frozen=True)
class Landing:
    """Where one target's search ended, as latency over target: derived by default, derived closely under the target,
    plain argmax, and the argmax's mean distance over the last tenth of the search."""

    derived: float
    derived_closely: float
    argmax: float
    argmax_distance: float


def land(
    space: SearchSpace, data: SplitData, targets: Sequence[LatencyTarget], settings: SearchSettings
) -> tuple[list[Landing], float]:
    """One search for all of ``targets``, and the seconds it took (without deriving)."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = SearchTrainer(space, data, targets, settings, SearchFiles(folder=Path(folder)))
        started = time.process_time()
        trainer.run()
        seconds = time.process_time() - started
        events = [event for event in read_json_lines(trainer.files.events) if event["derived_ms"] is not None]
        landings = []
        for state in trainer.states:
            target = state.target
            seen = [event["derived_ms"] / target.target_ms for event in events if event["target"] == target.name]
            last = seen[-max(1, len(seen) // 10) :]
            derivation = derive(trainer.supernet, state, data, settings)
            close = derive(
                trainer.supernet, state, data, dataclasses.replace(settings, least_budget_share=1 - CLOSELY_WITHIN)
            )
            landings.append(
                Landing(
                    derivation.best.predicted_ms / target.target_ms,
                    close.best.predicted_ms / target.target_ms,
                    derivation.argmax_ms / target.target_ms,
                    sum(abs(ratio - 1) for ratio in last) / len(last),
                )
            )
    return landings, seconds


def landing_claims(what: str, landings: Sequence[Landing]) -> Iterator[Claim]:
    """At the default share of the budget, and closely under it, which is what derivation looks for; then where the
    search itself settled, which nothing holds to the target but its loss."""
    argmaxes = ", ".join(f"{landing.argmax - 1:+.1%}" for landing in landings)
    note = f"none above its target; plain argmax of the logits, before derivation: {argmaxes}"
    yield _distance_claim(f"{what}, default settings", [landing.derived for landing in landings], WITHIN, note)
    yield _distance_claim(
        f"{what}, least_budget_share {1 - CLOSELY_WITHIN:g}",
        [landing.derived_closely for landing in landings],
        CLOSELY_WITHIN,
        "none above its target",
    )
    settled = [landing.argmax_distance for landing in landings]
    yield at_most(
        f"{what}: distance of the logits' argmax from its target over the last tenth of the search, mean",
        statistics.mean(settled),
        CLOSELY_WITHIN,
        unit="share",
        spread=(min(settled), max(settled)),
    )


def _distance_claim(what: str, derived: Sequence[float], within: float, note: str) -> Claim:
    distances = [abs(ratio - 1) for ratio in derived]
    over = [ratio for ratio in derived if ratio > 1]
    return at_most(
        f"{what}: distance of the derived network from its target, worst of {len(derived)}",
        float("inf") if over else max(distances),
        within,
        unit="share",
        spread=(min(distances), max(distances)),
        note=note if not over else f"{len(over)} above its target: {max(over):.3f} of it",
    )


def measure(options: Options) -> Iterator[Claim]:
    torch.set_num_threads(1)
    data = split_data(load_dataset("digits", image_size=16), held_out_fraction=SETTINGS.held_out_fraction, seed=0)
    space = small_space(data.data.image_shape, data.data.class_count)
    targets = spread_targets(space, options.data)
    if options.quick:
        targets = targets[1::2]
    together = dataclasses.replace(
        SETTINGS,
        search_steps=SETTINGS.search_steps * len(targets) // SETTINGS.weight_steps_per_architecture_step,
        weight_steps_per_architecture_step=1,
    )
    landings, together_s = land(space, data, targets, together)
    yield from landing_claims(f"{len(targets)} targets in one search", landings)
    for estimator in ESTIMATORS:
        landings, _ = land(space, data, targets, dataclasses.replace(together, estimator=estimator))
        yield from landing_claims(f"the same with {estimator}", landings)
    if options.quick:
        return
    apart = [land(space, data, [target], SETTINGS) for target in targets]
    yield from landing_claims(f"{len(targets)} short searches", [landing for one, _ in apart for landing in one])
    yield at_most(
        f"one search for {len(targets)} targets over as many searches, with as many architecture steps for each target",
        together_s / sum(seconds for _, seconds in apart),
        1.0,
        unit="ratio of CPU time",
    )
    long = dataclasses.replace(SETTINGS, search_steps=SETTINGS.search_steps * LONG_FACTOR)
    longer = [land(space, data, [targets[index]], long)[0][0] for index in (0, 2)]
    yield from landing_claims(f"searches {LONG_FACTOR} times as long, same settings", longer)


def spread_targets(space: SearchSpace, predictor: Path | None) -> list[LatencyTarget]:
    """Five targets across the space's range."""
    if predictor is None:
        device = analytic_target(space, 1.0)
    else:
        device = latency_target(space, load_network_latency(predictor), 1.0, "device")
    fastest_ms, slowest_ms = latency_range_ms(device.path_latency_ms, device.fixed_ms)
    return [
        dataclasses.replace(
            device, name=f"{share:.0%} of the range", target_ms=fastest_ms + share * (slowest_ms - fastest_ms)
        )
        for share in REACH
    ]


if __name__ == "__main__":
    run_benchmark("target_adherence", measure)
