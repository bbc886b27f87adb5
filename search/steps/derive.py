"""Step 4, derive: the derived network and its baselines, chosen on held-out images and on measured milliseconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console

from latency_model.drift import pace_since
from latency_model.measurement import Measurement, MeasurementSet, paid_ops
from latency_model.network import NetworkSpec
from profiler_agent.session import Session
from search.architecture import Architecture, read_architecture, write_architecture
from search.architecture_step import LatencyTarget
from search.budget import best_under_budget, latency_range_ms
from search.data.errors import name_a_few
from search.derive import Derivation, Judged, Judging, derive, derive_among_widths, rank
from search.errors import BudgetMissed, RunFolderError
from search.files import write_json
from search.networks import reference_network
from search.progress import progress
from search.run import NETWORK_NAMES, Run
from search.space import Choices, SearchSpace
from search.steps.handmade import by_usual_widths, nearest_handmade, nearest_under
from search.steps.profile import profile_if_any
from search.steps.search import finished_trainer, fix_targets, own_states
from search.steps.timing import measured_networks
from search.steps.verify import TOLERANCE

SHORTLIST = 8
RANDOM_CANDIDATES = 8
RANDOM_DRAWS = 50_000
LATENCY_MATCH = 0.03
REPAIRS = 3
UNUSED_BUDGET = 0.03
LARGEST_STEP = 0.25
SHOWN_MARGINS = 21


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The derived network, and the two baselines of the same measured latency."""

    derived: Judged
    networks: dict[str, NetworkSpec]
    measured_ms: dict[str, float]
    corrected_target_ms: float


def derive_networks(run: Run, console: Console) -> None:
    """Derive, time the shortlist on the device, and keep the best network that met the budget there.

    Raises:
        BudgetMissed: no network of the shortlist meets the budget on the device.
        RunFolderError: the search is not finished, or a baseline's file was lost since.
    """
    if run.folder.architecture.exists() and run.folder.derivation.exists():
        restore_lost_networks(run)
        labels = ", ".join(read_architecture(run.folder.architecture).labels)
        console.print(f"derived already: {labels}", highlight=False, markup=False, emoji=False)
        return
    trainer = finished_trainer(run)
    with run.timed("derive"), run.open_device("derive") as session:

        def derive_for(target_ms: float) -> Derivation:
            derivations = []
            states = [state for state in own_states(run, trainer) if fastest_ms_of(state.target) <= target_ms]
            for state in states:
                state.target = replace(state.target, target_ms=target_ms)
                with progress(console, "derive") as update:
                    derivations.append(
                        derive(trainer.supernet, state, trainer.data, trainer.settings, Judging(on_judged=update))
                    )
            return derive_among_widths(derivations)

        derivation, chosen = choose_on_device(run, session, fix_targets(run), derive_for)
    architecture = Architecture.of(run.space.widths[chosen.derived.width], chosen.derived.choices)
    for network in chosen.networks.values():
        run.write_network(network)
    write_json(run.folder.derivation, derivation_to_json(run.space, derivation, chosen))
    write_architecture(run.folder.architecture, architecture)
    console.print(f"derived: {', '.join(architecture.labels)}", highlight=False)
    space = run.space.widths[chosen.derived.width]
    console.print(describe_margins(space, derivation.margin), highlight=False, soft_wrap=True)


def restore_lost_networks(run: Run) -> None:
    """Write a derived network's file again that was lost since: it follows from the architecture. The baselines' do
    not.

    Raises:
        RunFolderError: a baseline's was lost.
        SpaceError: the architecture is of another space.
    """
    if not run.folder.network("derived").exists():
        run.write_network(read_architecture(run.folder.architecture).network(run.space))
    for name in NETWORK_NAMES:
        if not run.folder.network(name).exists():
            copy = run.folder.exported(name, ".json")
            raise RunFolderError(
                f"{run.folder.network(name)} is gone. Once the network was exported, {copy} holds the same: copy it "
                f"there. To derive anew instead, remove {run.folder.architecture} and {run.folder.path / 'train'}."
            )


def describe_margins(space: SearchSpace, margins: Sequence[float]) -> str:
    """How sure the search is at each position, the least sure first; of many positions, those alone."""
    named = sorted((margin, position.name) for position, margin in zip(space.positions, margins, strict=True))
    shown = name_a_few([f"{name} {margin:.2f}" for margin, name in named], shown=SHOWN_MARGINS)
    return f"margin of the most probable path over the second, least sure first: {shown}"


def choose_on_device(
    run: Run, session: Session, targets: Sequence[LatencyTarget], derive_for: Callable[[float], Derivation]
) -> tuple[Derivation, Chosen]:
    """Correct the budget by what the device says of the shortlist until a network meets it and uses it. Where none
    does, one that misses it by no more than verifying tolerates is taken.

    Args:
        targets: the budget, for each width of the space that has networks on both sides of it.

    Raises:
        BudgetMissed: after three corrections none does.
    """
    corrected_ms = target_ms = targets[0].target_ms
    lowest_ms = min(map(fastest_ms_of, targets))
    best: tuple[Derivation, Chosen] | None = None
    within_noise: tuple[Derivation, Chosen] | None = None
    for _ in range(1 + REPAIRS):
        derivation = derive_for(corrected_ms)
        shortlist = _shortlist(derivation)
        in_reach = [target for target in targets if fastest_ms_of(target) <= corrected_ms]
        candidates = _candidates(run, [replace(target, target_ms=corrected_ms) for target in in_reach], shortlist)
        measured = measured_ms(run, session, [network for group in candidates.values() for network in group])
        latencies_ms = [measured[paid_ops(network)] for network in candidates["derived"]]
        timed = list(zip(shortlist, candidates["derived"], latencies_ms, strict=True))
        fitting = [one for one in timed if one[2] <= target_ms]
        tolerated = [one for one in timed if one[2] <= (1 + TOLERANCE) * target_ms]
        if fitting or (tolerated and within_noise is None):
            baselines = _baselines(run, session, candidates["random"], measured, target_ms)
            chosen = derivation, _choose((fitting or tolerated)[0], baselines, corrected_ms)
            best, within_noise = (chosen, within_noise) if fitting else (best, chosen)
        ratio = sorted(ms / one.predicted_ms for one, ms in zip(shortlist, latencies_ms, strict=True))
        next_ms = max(lowest_ms, next_ms_of(target_ms, corrected_ms, ratio[len(ratio) // 2]))
        if best is not None and next_ms <= corrected_ms * (1 + UNUSED_BUDGET):
            return best
        corrected_ms = next_ms
    found = best or within_noise
    if found is None:
        raise BudgetMissed(
            f"No derived network met {target_ms:.4g} ms on {run.device.name}; the fastest took "
            f"{min(latencies_ms):.4g} ms, and half of them took {ratio[len(ratio) // 2] - 1:.1%} or more over what "
            "was predicted. Allow a larger budget in a new run folder; or, if the device is hot or busy now, let it "
            "rest and profile it in a new one."
        )
    return found


def next_ms_of(target_ms: float, corrected_ms: float, measured_over_predicted: float) -> float:
    """What to derive for next: a step from what was derived for last, and as many steps as the device asks for."""
    wanted_ms = target_ms / measured_over_predicted
    return min(max(wanted_ms, corrected_ms * (1 - LARGEST_STEP)), corrected_ms * (1 + LARGEST_STEP))


def fastest_ms_of(target: LatencyTarget) -> float:
    return latency_range_ms(target.path_latency_ms, target.fixed_ms)[0]


def _shortlist(derivation: Derivation) -> list[Judged]:
    return sorted(derivation.judged, key=rank)[:SHORTLIST]


def _candidates(
    run: Run, targets: Sequence[LatencyTarget], shortlist: Sequence[Judged]
) -> dict[str, list[NetworkSpec]]:
    space = run.space
    rng = random.Random(f"{run.settings.seed}/baselines/{space.hash}")
    return {
        "derived": [space.widths[one.width].network(one.choices, "derived") for one in shortlist],
        "random": [
            network for target in targets for network in random_networks(space.widths[target.width], target, rng)
        ],
        "handmade": by_usual_widths(reference_network(space), "handmade"),
    }


def _baselines(
    run: Run,
    session: Session,
    drawn: Sequence[NetworkSpec],
    measured: dict[tuple[Any, ...], float],
    target_ms: float,
) -> dict[str, tuple[NetworkSpec, float]]:
    """The random and the hand-made network nearest to the budget, each with what it takes on the device."""
    random_one = nearest_under(drawn, measured, target_ms)
    handmade = nearest_handmade(
        reference_network(run.space), "handmade", target_ms, lambda networks: measured_ms(run, session, networks)
    )
    return {"random": (random_one, measured[paid_ops(random_one)]), "handmade": handmade}


def _choose(
    derived: tuple[Judged, NetworkSpec, float],
    baselines: dict[str, tuple[NetworkSpec, float]],
    corrected_target_ms: float,
) -> Chosen:
    judged, network, derived_ms = derived
    return Chosen(
        derived=judged,
        networks={"derived": network, **{name: baseline for name, (baseline, _) in baselines.items()}},
        measured_ms={"derived": derived_ms, **{name: ms for name, (_, ms) in baselines.items()}},
        corrected_target_ms=corrected_target_ms,
    )


def random_networks(space: SearchSpace, target: LatencyTarget, rng: random.Random) -> list[NetworkSpec]:
    """Random networks whose predicted latency is just under the target: the baseline of equal latency.

    Uniform draws with rejection; near the edges of a space, where those find too few, the best under the budget for
    random scores.
    """
    found: dict[Choices, None] = {}
    for _ in range(RANDOM_DRAWS):
        choices = space.sample(rng)
        if 1 - LATENCY_MATCH <= target.network_ms(choices) / target.target_ms <= 1:
            found[choices] = None
        if len(found) == RANDOM_CANDIDATES:
            break
    for _ in range(RANDOM_CANDIDATES - len(found)):
        scores = [np.array([rng.random() for _ in range(count)]) for count in space.candidate_counts]
        found[best_under_budget(scores, target.path_latency_ms, target.fixed_ms, target.target_ms)] = None
    return [space.network(choices, "random") for choices in found]


def measured_ms(run: Run, session: Session, networks: Sequence[NetworkSpec]) -> dict[tuple[Any, ...], float]:
    """What each takes, for the choice; of several measurements the median."""
    measured = measured_networks(run, session, networks)
    profiled = profile_if_any(run)
    is_relative = run.target.reference is not None
    return {
        ops: float(np.median([judged_ms(one, profiled, is_relative=is_relative) for one in found]))
        for ops, found in measured.items()
    }


def judged_ms(measurement: Measurement, profiled: MeasurementSet | None, *, is_relative: bool) -> float:
    """What a budget is held against: the latency at the pace of the profile, by the canary, which is where the
    reference of a relative budget was timed. For a budget in milliseconds a device that runs slower than at its profile
    is taken as it is; one that runs faster is not, as what a fast moment lets through would miss the budget later.
    """
    pace = None if profiled is None else pace_since(profiled, measurement)
    if pace is None:
        return measurement.latency_ms
    return measurement.latency_ms / (pace if is_relative else min(1.0, pace))


def derivation_to_json(space: SearchSpace, derivation: Derivation, chosen: Chosen) -> dict[str, Any]:
    return {
        "schema": 1,
        "derived": asdict(chosen.derived) | {"labels": space.labels(chosen.derived.choices)},
        "argmax": {"choices": derivation.argmax, "predicted_ms": derivation.argmax_ms},
        "entropy": derivation.entropy,
        "margin": derivation.margin,
        "judged": [asdict(one) for one in derivation.judged],
        "measured_ms": chosen.measured_ms,
        "corrected_target_ms": chosen.corrected_target_ms,
    }
