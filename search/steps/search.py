"""Step 3, search: fix the target in milliseconds, then train supernet and path logits against it; for several runs
together when they are given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.network_latency import NetworkLatency
from latency_model.path_latencies import path_latencies
from search.architecture_step import LatencyTarget, TargetState
from search.batches import SplitData
from search.budget import latency_range_ms
from search.device_loop import DeviceLoop
from search.errors import RunFolderError, TargetError
from search.files import write_json
from search.live_curves import live_curves
from search.networks import reference_network
from search.progress import progress
from search.run import Run, read_target
from search.run_lock import alone_in
from search.run_settings import keep_settings
from search.search_choices import keep_search_choices
from search.settings import SearchSettings
from search.shared_cost import shared_cost
from search.shared_search import Share, share_of
from search.space import SearchSpace, space_to_json
from search.steps.profile import planned_measurements
from search.steps.share import keep_shared_search, require_own_targets, require_sharable
from search.trainer import SearchFiles, SearchTrainer
from search.workers import ALONE, Workers, join_workers


def latency_target(
    space: SearchSpace, predictor: NetworkLatency, target_ms: float, name: str, width: int = 0
) -> LatencyTarget:
    """What each path costs, frozen from the predictor: additive, so expected latency keeps exact gradients.

    Args:
        space: of one width.
        width: which of a space of several it is.

    Raises:
        UnknownOpError: the predictor does not know an op of the space.
    """
    latencies = path_latencies(
        predictor,
        [[candidate.op for candidate in position.candidates] for position in space.positions],
        [op for _, op in space.fixed_layers],
        target_ms,
    )
    return LatencyTarget(
        name=name,
        target_ms=target_ms,
        path_latency_ms=latencies.path_latency_ms,
        fixed_ms=latencies.fixed_ms,
        width=width,
    )


def targets_by_width(run: Run, target_ms: float) -> list[LatencyTarget]:
    """The budget as one target for each width that the space offers."""
    widths, name = run.space.widths, run.device.name
    names = [name] if len(widths) == 1 else [f"{name}, {space.name}" for space in widths]
    return [latency_target(space, run.predictor, target_ms, names[width], width) for width, space in enumerate(widths)]


def fix_targets(run: Run) -> list[LatencyTarget]:
    """The budget in milliseconds, kept in the run so that a later measurement does not move it: one target for each
    width of the space that has networks on both sides of it.

    Raises:
        TargetError: no network of the space can meet it, or all of them do; the reachable range is named.
    """
    if not run.folder.target.exists():
        write_json(run.folder.target, target_in_reach(run))
    target_ms = float(read_target(run.folder)["target_ms"])
    return [target for target in targets_by_width(run, target_ms) if _is_in_reach(target)]


def target_in_reach(run: Run) -> dict[str, str | float | None]:
    """The budget in milliseconds, as ``fix_targets`` keeps it.

    Raises:
        TargetError: no network of the space can meet it, or all of them do; the reachable range is named.
    """
    reference_ms = _reference_ms(run)
    target = run.target
    target_ms = target.resolve_ms(reference_ms or 0.0)
    targets = targets_by_width(run, target_ms)
    if not any(map(_is_in_reach, targets)):
        reach = [latency_range_ms(one.path_latency_ms, one.fixed_ms) for one in targets]
        fastest_ms, slowest_ms = min(low for low, _ in reach), max(high for _, high in reach)
        relative = "" if target.factor is None else f" ({target.text})"
        raise TargetError(
            f"The budget is {target_ms:.4g} ms{relative}, but networks of the space {run.space.name!r} take "
            f"{fastest_ms:.4g} to {slowest_ms:.4g} ms on {run.device.name}. Choose a budget in that range, or "
            f"another space."
        )
    return {"text": target.text, "target_ms": target_ms, "reference_ms": reference_ms}


def _is_in_reach(target: LatencyTarget) -> bool:
    fastest_ms, slowest_ms = latency_range_ms(target.path_latency_ms, target.fixed_ms)
    return fastest_ms <= target.target_ms <= slowest_ms


def _reference_ms(run: Run) -> float | None:
    if run.target.reference is None:
        return None
    wanted = paid_ops(reference_network(run.space))
    for measurement in planned_measurements(run).measurements:
        if measurement.paid_ops == wanted:
            return measurement.latency_ms
    raise AssertionError("the profile's plan holds the reference")


def make_trainer(run: Run, workers: Workers = ALONE) -> SearchTrainer:
    """The trainer of the run's search, at its start; of a shared search, for the targets of all runs.

    Raises:
        RunFolderError: the run's predictor or budget is not the one that the shared search began with.
    """
    split, _ = _split_and_steps(run)
    settings = settings_of_search(run)
    targets: Sequence[LatencyTarget] = fix_targets(run)
    folder, share = run.folder, share_of(run.folder)
    if share is not None:
        require_own_targets(run, targets, share)
        targets, folder = share.search.targets, share.search.holder
    return SearchTrainer(run.space, split, targets, settings, SearchFiles(folder=folder.search), workers)


def settings_of_search(run: Run) -> SearchSettings:
    """How the run's search goes; one that several runs share takes an architecture step for each when one is due."""
    _, steps_per_pass = _split_and_steps(run)
    settings, share = run.search_settings(steps_per_pass), share_of(run.folder)
    return settings if share is None else replace(settings, architecture_steps_per_turn=len(share.search.sharers))


def _split_and_steps(run: Run) -> tuple[SplitData, int]:
    """The images of the search, and the weight steps of one pass over those that train."""
    probe = run.search_settings(1)
    split = run.split(probe.held_out_fraction)
    return split, split.train_steps_per_pass(probe.batch_size)


def _warn_of_few_images(run: Run, console: Console) -> None:
    split, steps_per_pass = _split_and_steps(run)
    more = run.preset.more_passes(steps_per_pass)
    if more > 1:
        console.print(
            f"few images: {len(split.train_index)} train, {len(split.held_out_index)} choose; the search takes "
            f"{more:.1f} times the passes of the preset {run.settings.preset}, as it needs "
            f"{run.preset.least_architecture_steps} architecture steps. Choices made on few images are uncertain.",
            highlight=False,
            soft_wrap=True,
        )


def finished_trainer(run: Run) -> SearchTrainer:
    """The trainer as the run's search left it, to read from.

    Raises:
        RunFolderError: the search is not finished.
    """
    trainer = make_trainer(run)
    trainer.load()
    if not trainer.is_finished:
        share = share_of(run.folder)
        command = f"proxyless search {run.folder.path}" if share is None else share.search.command
        raise RunFolderError(
            f"The search for {run.folder.path} stands at step {trainer.step} of {trainer.settings.total_steps}; finish "
            f"it first: {command}"
        )
    return trainer


def own_states(run: Run, trainer: SearchTrainer) -> list[TargetState]:
    """What a search, which other runs may share, learned for this run: one state for each width in reach."""
    share = share_of(run.folder)
    if share is None:
        return trainer.states
    own = {target.name for target in share.own.targets}
    return [state for state in trainer.states if state.target.name in own]


def search(run: Run, console: Console, *, others: Sequence[Run] = (), with_device: bool = False) -> None:
    """Search, or go on where a killed search stopped; under ``torchrun`` all workers take part.

    Args:
        others: runs that share the search, each with its own device and budget; resumed, the same ones.
        with_device: time what would be derived now and then, and correct the predictor by it.
    Raises:
        TargetError: a budget is out of reach.
        RunFolderError: the runs cannot share a search, or began it with others; or another process is at work in one.
        CheckpointError: the folder holds another search.
    """
    is_shared = share_of(run.folder) is not None
    is_described = is_shared or (run.folder.target.exists() and _space_file(run).exists())
    if not others and run.folder.architecture.exists() and is_described:
        console.print("searched already", highlight=False)
        return
    if not others and is_shared:
        keep_search_choices(run)
        finished_trainer(run)
        console.print("searched already, with other runs", highlight=False)
        return
    with join_workers() as workers, ExitStack() as held:
        if workers.is_first:  # before anything is written: what another process logged since its checkpoint stays
            for one in (run, *others):
                held.enter_context(alone_in(one.folder.path))
            _prepare(run, others, console)
        workers.wait()  # the first one has fixed the targets
        trainer = make_trainer(run, workers)
        trainer.resume()
        share = share_of(run.folder)
        if workers.is_first and share is not None and not trainer.is_finished:
            console.print(
                shared_cost(trainer, len(share.search.sharers)).describe_passes(), highlight=False, soft_wrap=True
            )
        if not trainer.is_finished:
            _train(run, others, trainer, console, with_device=with_device)
        elif workers.is_first:
            console.print(f"searched already: {trainer.step} steps", highlight=False)
        if workers.is_first and share is not None:
            _keep_cost(share, trainer, console)


def _prepare(run: Run, others: Sequence[Run], console: Console) -> None:
    """Refuse what cannot be searched before anything is written; then fix every budget and what the search is of."""
    require_sharable(run, others)
    for one in (run, *others):
        if not one.folder.target.exists():
            target_in_reach(one)
    targets = {}
    for one in (run, *others):
        keep_search_choices(one)
        keep_settings(one.folder.settings, one.settings, is_target_kept=one.folder.target.exists())
        targets[one] = fix_targets(one)
        where = f" on {one.device.name}, {one.folder.path}" if others else ""
        share = "" if one.target.factor is None else f" ({one.target.text})"
        console.print(f"budget: {targets[one][0].target_ms:.4g} ms{share}{where}", highlight=False)
    _warn_of_few_images(run, console)
    if others:
        keep_shared_search(run, targets)
    write_json(_space_file(run), {**space_to_json(run.space), "hash": run.space.hash})


def _space_file(run: Run) -> Path:
    return run.folder.search / "space.json"


def _train(run: Run, others: Sequence[Run], trainer: SearchTrainer, console: Console, *, with_device: bool) -> None:
    with ExitStack() as stack:
        update = None
        if trainer.workers.is_first:
            stack.enter_context(run.timed("search"))
            shown = stack.enter_context(progress(console, "search"))
            folder, first = run.folder.curves("search"), trainer.states[0].target.name
            curves = live_curves(trainer.files.events, folder, "search", trainer.step, shown, first)
            update = stack.enter_context(curves)
        if with_device:
            trainer.device_loop = _device_loop((run, *others), trainer, stack)
        trainer.run(update)


def _keep_cost(share: Share, trainer: SearchTrainer, console: Console) -> None:
    path = share.search.holder.shared_cost
    if path.exists():
        return
    cost = shared_cost(trainer, len(share.search.sharers))
    write_json(path, cost.to_json())
    console.print(cost.describe_seconds(), highlight=False, soft_wrap=True)


def _device_loop(runs: Sequence[Run], trainer: SearchTrainer, stack: ExitStack) -> DeviceLoop:
    from search.steps.device_loop import device_loop, times_nothing  # noqa: PLC0415 - it builds on this module

    if not trainer.workers.is_first:
        return times_nothing(trainer.settings)
    return device_loop(runs, trainer, stack)
