"""Step 3, search: fix the target in milliseconds, then train supernet and path logits against it."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from rich.console import Console

from latency_model.measurement import paid_ops
from latency_model.network_latency import NetworkLatency
from profiler_agent.session import open_session
from search.architecture_step import LatencyTarget
from search.budget import latency_range_ms
from search.device_loop import DeviceLoop
from search.errors import TargetError
from search.files import read_json, write_json
from search.live_curves import live_curves
from search.networks import reference_network
from search.progress import progress
from search.run import Run
from search.space import SearchSpace, space_to_json
from search.steps.profile import planned_measurements
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
    fixed = predictor.op_contribution_ms([op for _, op in space.fixed_layers])
    paths = tuple(
        np.asarray(predictor.op_contribution_ms([candidate.op for candidate in position.candidates]))
        for position in space.positions
    )
    return LatencyTarget(
        name=name,
        target_ms=target_ms,
        path_latency_ms=paths,
        fixed_ms=float(fixed.sum()) + predictor.constant_ms,
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
        reference_ms = _reference_ms(run)
        target = run.target
        target_ms = target.resolve_ms(reference_ms or 0.0)
        targets = targets_by_width(run, target_ms)
        if not any(map(_is_in_reach, targets)):
            reach = [latency_range_ms(one.path_latency_ms, one.fixed_ms) for one in targets]
            fastest_ms, slowest_ms = min(low for low, _ in reach), max(high for _, high in reach)
            raise TargetError(
                f"The budget {target.text} is {target_ms:.4g} ms, but networks of the space {run.space.name!r} take "
                f"{fastest_ms:.4g} to {slowest_ms:.4g} ms on {run.device.name}. Choose a budget in that range, or "
                f"another space."
            )
        write_json(run.folder.target, {"text": target.text, "target_ms": target_ms, "reference_ms": reference_ms})
    target_ms = float(read_json(run.folder.target)["target_ms"])
    return [target for target in targets_by_width(run, target_ms) if _is_in_reach(target)]


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
    settings_probe = run.preset.search_settings(1, run.settings.seed)
    split = run.split(settings_probe.held_out_fraction)
    steps_per_pass = split.train_steps_per_pass(settings_probe.batch_size)
    settings = run.preset.search_settings(steps_per_pass, run.settings.seed)
    files = SearchFiles(folder=run.folder.search)
    return SearchTrainer(run.space, split, fix_targets(run), settings, files, workers)


def search(run: Run, console: Console, *, with_device: bool = False) -> None:
    """Search, or go on where a killed search stopped; under ``torchrun`` all workers take part.

    Args:
        with_device: time what would be derived now and then, and correct the predictor by it.
    Raises:
        TargetError: the budget is out of reach.
        CheckpointError: the folder holds another search.
    """
    if run.folder.architecture.exists():
        return
    with join_workers() as workers:
        if workers.is_first:
            target = fix_targets(run)[0]
            write_json(run.folder.search / "space.json", {**space_to_json(run.space), "hash": run.space.hash})
            console.print(f"budget: {target.target_ms:.4g} ms ({run.target.text})", highlight=False)
        workers.wait()  # the first one has fixed the target
        trainer = make_trainer(run, workers)
        trainer.resume()
        if trainer.is_finished:
            return
        with ExitStack() as stack:
            update = None
            if workers.is_first:
                stack.enter_context(run.timed("search"))
                shown = stack.enter_context(progress(console, "search"))
                curves = live_curves(trainer.files.events, run.folder.curves("search"), "search", trainer.step, shown)
                update = stack.enter_context(curves)
            if with_device:
                trainer.device_loop = _device_loop(run, trainer, stack)
            trainer.run(update)


def _device_loop(run: Run, trainer: SearchTrainer, stack: ExitStack) -> DeviceLoop:
    from search.steps.device_loop import device_loop, times_nothing  # noqa: PLC0415 - it builds on this module

    if not trainer.workers.is_first:
        return times_nothing(trainer.settings)
    return device_loop(run, stack.enter_context(open_session(run.device)), trainer.settings)
