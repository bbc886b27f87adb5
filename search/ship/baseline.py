"""More baselines for a run: random networks of the budget's latency, trained by the same recipe and measured."""

from __future__ import annotations

import dataclasses
import random
import re

from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec
from search.errors import TargetError
from search.files import read_json
from search.run import Run
from search.steps.derive import measured_ms, random_networks
from search.steps.export import export
from search.steps.report import report
from search.steps.search import fix_targets
from search.steps.train import train
from search.steps.verify import verify

DRAWS = 20
_NAME = re.compile(r"random-(\d+)")


def add_baselines(run: Run, console: Console, count: int) -> list[str]:
    """Draw, time, train, export and verify ``count`` random networks beside those that the run has; done again with
    the same count, it goes on where it stopped.

    Returns:
        Their names: random-2, random-3, ...
    Raises:
        TargetError: the space has too few networks of this latency.
        RunFolderError: the run has derived nothing yet.
    """
    names = [f"random-{number}" for number in range(2, 2 + count)]
    missing = [name for name in names if not run.folder.network(name).exists()]
    if missing:
        for name, network in zip(missing, _choose(run, len(missing)), strict=True):
            run.write_network(dataclasses.replace(network, name=name))
    train(run, console, names)
    export(run, console, names)
    verify(run, console, names)
    report(run, console)
    return names


def baseline_names(run: Run) -> list[str]:
    """The additional baselines that a run has, in order."""
    found = [_NAME.fullmatch(path.stem) for path in run.folder.network("any").parent.glob("random-*.json")]
    return [match[0] for match in sorted((m for m in found if m), key=lambda match: int(match[1]))]


def _choose(run: Run, count: int) -> list[NetworkSpec]:
    """Networks that the predictor puts just under the budget and that the device finds within it, as drawn."""
    targets = fix_targets(run)
    target_ms = targets[0].target_ms
    corrected_ms = read_json(run.folder.derivation)["corrected_target_ms"]
    known = [run.read_network(name) for name in ("derived", "random", *baseline_names(run))]
    seen = {paid_ops(network) for network in known}
    fitting: list[NetworkSpec] = []
    with run.timed("baseline"), run.open_device("baseline") as session:
        for draw in range(DRAWS):
            rng = random.Random(f"{run.settings.seed}/more baselines/{run.space.hash}/{len(known)}/{draw}")
            target = dataclasses.replace(rng.choice(targets), target_ms=corrected_ms)
            drawn = random_networks(run.space.widths[target.width], target, rng)
            candidates = [network for network in drawn if paid_ops(network) not in seen]
            seen |= {paid_ops(network) for network in candidates}
            latency_ms = measured_ms(run, session, candidates)
            fitting += [n for n in candidates if latency_ms[paid_ops(n)] <= target_ms]
            if len(fitting) >= count:
                return fitting[:count]
    raise TargetError(
        f"{run.folder.path}: only {len(fitting)} more random networks meet {target_ms:.4g} ms just so; ask for "
        f"fewer, or search with a budget further from the ends of the space."
    )
