"""More baselines for a run: random networks of the budget's latency, and hand-made ones scaled to it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from statistics import median

from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec
from search.errors import TargetError
from search.files import NUMBER, read_record
from search.networks import reference_network
from search.report.run_folder import added_baselines
from search.run import Run
from search.steps.derive import fastest_ms_of, measured_ms, next_ms_of, random_networks
from search.steps.export import export
from search.steps.handmade import Kind, kinds_of, nearest_handmade
from search.steps.report import report
from search.steps.search import fix_targets
from search.steps.train import train
from search.steps.verify import verify

DRAWS = 20


def add_baselines(run: Run, console: Console, count: int, handmade_count: int = 0) -> list[str]:
    """Find, time, train, export and verify baselines beside those that the run has; done again with the same counts, it
    goes on where it stopped.

    Args:
        count: of random networks.
        handmade_count: of networks made of another block than the run's own hand-made one, small kernels first.
    Returns:
        Their names: random-2, random-3, ..., handmade-k3-e3, ...
    Raises:
        TargetError: the space has too few networks of this latency, or too few blocks.
        RunFolderError: the run has derived nothing yet.
    """
    kinds = {f"handmade-{kind}": kind for kind in _kinds(run, handmade_count)}
    drawn = [f"random-{number}" for number in range(2, 2 + count)]
    names = [*drawn, *kinds]
    missing = [name for name in drawn if not run.folder.network(name).exists()]
    if missing:
        for name, network in zip(missing, _choose(run, len(missing)), strict=True):
            run.write_network(dataclasses.replace(network, name=name))
    _make_by_hand(run, {name: kind for name, kind in kinds.items() if not run.folder.network(name).exists()})
    train(run, console, names)
    export(run, console, names)
    verify(run, console, names)
    report(run, console)
    return names


def _kinds(run: Run, count: int) -> Sequence[Kind]:
    if count == 0:
        return ()
    kinds = kinds_of(run.space, reference_network(run.space))
    if len(kinds) < count:
        raise TargetError(
            f"Beside the block of the run's hand-made network, the space {run.space.name!r} offers "
            f"{', '.join(map(str, kinds)) or 'none'}; {count} were asked for. Give --handmade {len(kinds)} at most."
        )
    return kinds[:count]


def _make_by_hand(run: Run, kinds: dict[str, Kind]) -> None:
    """One network of each kind, as near below the budget on the device as its widths allow."""
    if not kinds:
        return
    target_ms = fix_targets(run)[0].target_ms
    reference = reference_network(run.space)
    with run.timed("baseline"), run.open_device("baseline") as session:
        for name, kind in kinds.items():
            network, _ = nearest_handmade(
                kind.of(reference), name, target_ms, lambda networks: measured_ms(run, session, networks)
            )
            run.write_network(network)


def _choose(run: Run, count: int) -> list[NetworkSpec]:
    """Networks that the predictor puts just under the budget and that the device finds within it, as drawn. Where it
    finds none, the device is slower than when the run derived, and the next are drawn for less."""
    targets = fix_targets(run)
    target_ms = targets[0].target_ms
    corrected_ms = read_record(run.folder.derivation, {"corrected_target_ms": NUMBER})["corrected_target_ms"]
    added = [name for name in added_baselines(run.folder.path) if name.startswith("random")]
    known = [run.read_network(name) for name in ("derived", "random", *added)]
    seen = {paid_ops(network) for network in known}
    fitting: list[NetworkSpec] = []
    with run.timed("baseline"), run.open_device("baseline") as session:
        for draw in range(DRAWS):
            rng = random.Random(f"{run.settings.seed}/more baselines/{run.space.hash}/{len(known)}/{draw}")
            in_reach = [target for target in targets if fastest_ms_of(target) <= corrected_ms]
            target = dataclasses.replace(rng.choice(in_reach), target_ms=corrected_ms)
            drawn = random_networks(run.space.widths[target.width], target, rng)
            candidates = [network for network in drawn if paid_ops(network) not in seen]
            seen |= {paid_ops(network) for network in candidates}
            latency_ms = measured_ms(run, session, candidates)
            found = [n for n in candidates if latency_ms[paid_ops(n)] <= target_ms]
            fitting += found
            if len(fitting) >= count:
                return fitting[:count]
            if candidates and not found:
                ratio = median(
                    latency_ms[paid_ops(n)] / run.predictor.predict_network(n.ops).latency_ms for n in candidates
                )
                corrected_ms = max(next_ms_of(target_ms, corrected_ms, ratio), min(map(fastest_ms_of, targets)))
    raise TargetError(
        f"{run.folder.path}: only {len(fitting)} more random networks meet {target_ms:.4g} ms just so; ask for "
        f"fewer, or search with a budget further from the ends of the space."
    )
