"""What NNI 3.0's ProxylessNAS runs, exports and lands on, beside ours: ``python -m benchmarks.peers_search [--quick]``.

Forwards: runs of candidates per position in one weight and one architecture step, counted by hooks on both supernets;
six MBConvs at each position, no skip. Exports and landing: the small space on scikit-learn's digits at 16 pixels, an
analytic device (``search_setting.analytic_target``), one search per target from 10 % to 90 % of the space's range.
Both sides take as many weight and architecture steps on batches of 64 and move logits at the same rate, as NNI's own
(3e-4) would leave them where they started; the weights' rates are each side's (NNI: 0.1, constant). NNI's latency
penalty (``absolute``, its default scale) is taken as shipped, and repaired so that its gradient reaches the logits.

Landing is |latency / target - 1|: of the most probable network of either side, and of what each side hands over: NNI's
export is a draw, ours is derived within 1 % under the target. Without build/peers see ``peers``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from benchmarks.claims import NO_AIM, Claim, Options, at_least, at_most, fact, not_measured, run_benchmark
from benchmarks.peers_environment import (
    BUILD_LIMIT_S,
    QUICK_BUILD_LIMIT_S,
    ROOT,
    PeersUnavailable,
    peers_python,
    peers_versions,
)
from benchmarks.peers_forwards import ForwardCounter
from benchmarks.peers_space import BATCH, digits, peer_data, peer_space
from benchmarks.search_setting import analytic_target
from benchmarks.target_adherence import SETTINGS, spread_targets
from search.architecture_step import LatencyTarget
from search.batches import SplitData
from search.derive import derive
from search.settings import Estimator, SearchSettings
from search.space import SearchSpace
from search.spaces.small import small_space
from search.trainer import SearchFiles, SearchTrainer

COUNTED_SPACE, COUNTED_STEPS = "plain-6", 1
WITHIN = 0.01
DERIVATIONS = 2
NNI_PENALTIES: dict[str, list[str]] = {"as shipped": [], "with its penalty repaired": ["--repaired"]}
EPOCHS, QUICK_EPOCHS = (2, 6), (1, 1)
"""Passes of warm-up and of search."""


@dataclass(frozen=True)
class Landing:
    """One search of ours: latency over target, and the share of derivations that gave the same network and the argmax
    of the logits as its argmax."""

    argmax: float
    derived: float
    same_share: float


def measure(options: Options) -> Iterator[Claim]:
    torch.set_num_threads(1)
    try:
        python = str(peers_python(QUICK_BUILD_LIMIT_S if options.quick else BUILD_LIMIT_S))
    except PeersUnavailable as error:
        yield from unavailable(str(error))
        return
    yield from forward_claims(ask(python, "forwards", COUNTED_SPACE), peers_versions(python))
    data = digits()
    space = small_space(data.data.image_shape, data.data.class_count)
    targets = spread_targets(space, None)
    epochs = QUICK_EPOCHS if options.quick else EPOCHS
    settings = landing_settings(data, *epochs)
    ours = []
    theirs: dict[str, list[dict[str, Any]]] = {name: [] for name in NNI_PENALTIES}
    for target in targets[2:3] if options.quick else targets[::2]:
        ours.append(land(space, data, target, settings))
        asked = ["land", "--target-ms", repr(target.target_ms), "--logit-rate", repr(settings.logit_rate(1))]
        asked += ["--warmup-epochs", str(epochs[0]), "--search-epochs", str(epochs[1])]
        for name, extra in NNI_PENALTIES.items():
            theirs[name].append(ask(python, *asked, *extra))
    yield from export_claims(ours, theirs)
    yield from landing_claims(ours, theirs)


def unavailable(why: str) -> Iterator[Claim]:
    """A row for each of the three questions."""
    yield not_measured("forwards of candidates per position, ours over NNI 3.0's", "<= 1", why)
    yield not_measured("share of NNI 3.0's exports that are its most probable network", NO_AIM, why)
    yield not_measured("distance of the most probable network from its target, ours over NNI 3.0's", "<= 1", why)


def ask(python: str, *arguments: str) -> dict[str, Any]:
    """The answer of one run of NNI."""
    done = subprocess.run(
        [python, "-m", "benchmarks.peers_nni_search", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]  # NNI writes its log there too
    if done.returncode != 0 or not answers:
        raise RuntimeError(f"NNI's {arguments[0]} ended with {done.returncode}:\n{done.stderr[-1500:]}")
    return dict(json.loads(answers[-1]))


def our_forwards(estimator: Estimator, space_name: str) -> dict[str, float]:
    """Runs of candidates per position of our weight and architecture steps."""
    data = peer_data()
    space = peer_space(space_name, data)
    settings = SearchSettings(
        warmup_steps=0,
        search_steps=COUNTED_STEPS,
        architecture_batch_size=BATCH,
        batch_size=BATCH,
        estimator=estimator,
        weight_steps_per_architecture_step=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = SearchTrainer(space, data, [analytic_target(space, 1.0)], settings, SearchFiles(folder=Path(folder)))
        supernet = trainer.supernet
        counter = ForwardCounter(supernet.stem, [mixed_op.candidates for mixed_op in supernet.mixed_ops])  # type: ignore[misc]
        trainer.run()
    return {"weight": counter.per_position(0), "architecture": counter.per_position(1)}


def forward_claims(theirs: dict[str, float], versions: str) -> Iterator[Claim]:
    estimators: tuple[Estimator, ...] = ("full", "two-path")
    for estimator in estimators:
        ours = our_forwards(estimator, COUNTED_SPACE)
        for step in ("weight", "architecture"):
            yield at_most(
                f"forwards of 6 candidates per position, {step} step, ours {estimator} over NNI 3.0 ProxylessNAS",
                ours[step] / theirs[step],
                1.0,
                unit="ratio",
                note=f"{ours[step]:g} against {theirs[step]:g}; {versions}",
            )


def landing_settings(data: SplitData, warmup_epochs: int, search_epochs: int) -> SearchSettings:
    """As many steps as NNI takes in so many passes of its loader, which drops the last batch."""
    steps = len(data.train_index) // BATCH
    return dataclasses.replace(
        SETTINGS,
        warmup_steps=warmup_epochs * steps,
        search_steps=search_epochs * steps,
        batch_size=BATCH,
        architecture_batch_size=BATCH,
        weight_steps_per_architecture_step=1,
    )


def land(space: SearchSpace, data: SplitData, target: LatencyTarget, settings: SearchSettings) -> Landing:
    with tempfile.TemporaryDirectory() as folder:
        trainer = SearchTrainer(space, data, [target], settings, SearchFiles(folder=Path(folder)))
        trainer.run()
    state = trainer.states[0]
    derivations = [derive(trainer.supernet, state, data, settings) for _ in range(DERIVATIONS)]
    first, most_probable = derivations[0], state.logits.most_probable()
    same = [one.best.choices == first.best.choices and one.argmax == most_probable for one in derivations]
    return Landing(
        argmax=first.argmax_ms / target.target_ms,
        derived=first.best.predicted_ms / target.target_ms,
        same_share=fmean(same),
    )


def export_claims(ours: Sequence[Landing], theirs: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[Claim]:
    always = fmean(landing.same_share for landing in ours)
    yield at_least(
        f"share of our derivations that repeat the network and tell the argmax of the logits, {len(ours)} searches",
        always,
        1.0,
        unit="share",
        note=f"{DERIVATIONS} derivations of each search; handed over is the best network found under the target",
    )
    for name, runs in theirs.items():
        shares = [run["argmax_share"] for run in runs]
        yield fact(
            f"share of exports that are the most probable network, NNI 3.0 {name}, {len(runs)} searches",
            fmean(shares),
            unit="share",
            spread=(min(shares), max(shares)),
            note=f"NNI's export draws a sample; {len(runs[0]['exports'])} exports of each search",
        )


def landing_claims(ours: Sequence[Landing], theirs: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[Claim]:
    argmaxes, derived = ([getattr(landing, kind) for landing in ours] for kind in ("argmax", "derived"))
    yield own_claim("derived network", derived)
    yield own_claim("most probable network", argmaxes)
    for name, runs in theirs.items():
        gradient = f"{sum(run['has_gradient'] for run in runs)} of {len(runs)} penalties have a gradient"
        their_argmaxes = [run["argmax"] for run in runs]
        yield at_most(
            f"distance of the most probable network from its target, mean: ours over NNI 3.0 {name}",
            mean_distance(argmaxes) / mean_distance(their_argmaxes),
            1.0,
            unit="ratio",
            note=f"ours {signed(argmaxes)}; NNI {signed(their_argmaxes)}; {gradient}",
        )
        exports = [median(abs(ratio - 1) for ratio in run["exports"]) for run in runs]
        yield at_most(
            f"distance of what is handed over from its target, mean: ours over NNI 3.0 {name}",
            mean_distance(derived) / fmean(exports),
            1.0,
            unit="ratio",
            note=f"ours {signed(derived)}; NNI, median of the exports: "
            + ", ".join(f"{distance:.1%}" for distance in exports)
            + f" off; expected latency {signed([run['expected'] for run in runs])}",
        )


def own_claim(what: str, ratios: Sequence[float]) -> Claim:
    distances = [abs(ratio - 1) for ratio in ratios]
    return at_most(
        f"distance of our {what} from its target, worst of {len(ratios)} searches",
        max(distances),
        WITHIN,
        unit="share",
        spread=(min(distances), max(distances)),
        note=signed(ratios),
    )


def mean_distance(ratios: Sequence[float]) -> float:
    return fmean(abs(ratio - 1) for ratio in ratios)


def signed(ratios: Sequence[float]) -> str:
    return ", ".join(f"{ratio - 1:+.1%}" for ratio in ratios)


if __name__ == "__main__":
    run_benchmark("peers_search", measure)
