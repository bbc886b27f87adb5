"""Which runs may share one search: those that differ in device and budget alone. What is written down of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.architecture_step import LatencyTarget
from search.errors import RunFolderError, TargetError
from search.run import Run, open_run, with_target
from search.run_settings import Target, parse_sharer
from search.shared_search import (
    HOLDER,
    Share,
    SharedSearch,
    Sharer,
    found_from,
    holder_of,
    read_shared_search,
    seen_from,
    share_of,
    write_shared_search,
)
from search.trainer import SearchFiles

SAME_MS = 1e-6
"""Predictions of one predictor differ by less, relatively, between machines."""


def open_sharer(text: str, default: Target | None) -> Run:
    """The run that ``--with`` names, with the budget given there, or its own, or else ``default``.

    Raises:
        TargetError: it has no budget.
        RunFolderError: no run folder, or one with another budget.
    """
    folder, target = parse_sharer(text)
    run = open_run(folder)
    if target is not None:
        return with_target(run, target)
    if run.settings.target is not None:
        return run
    if default is None:
        raise TargetError(
            f"{folder} has no budget yet; give one: --with {folder}=0.8ms or --with {folder}=0.6xmobilenetv2."
        )
    return with_target(run, default)


def require_sharable(run: Run, others: Sequence[Run]) -> None:
    """Raise unless ``run`` may search for ``others`` too.

    Raises:
        RunFolderError: a run was named twice; differs in more than device and budget; has no predictor; has begun a
            search of its own; or the search was begun with other runs.
    """
    if not others:
        return
    _refuse_repetition([run, *others])
    _refuse_another_search(run, others)
    for other in others:
        other.take_data_of(run)
        for here, there in zip(_facts(run), _facts(other), strict=True):
            if here.value != there.value:
                raise RunFolderError(
                    f"{other.folder.path} cannot share the search of {run.folder.path}: its {there.what} is "
                    f"{there.shown}, not {here.shown}. Runs that share a search differ in device and budget alone; "
                    f"profile {other.folder.path} anew."
                )
    for one in (run, *others):
        _ = one.predictor  # raises when there is none


def keep_shared_search(run: Run, targets: Mapping[Run, Sequence[LatencyTarget]]) -> None:
    """Write down whom the search of ``run`` serves, and in the other runs where it is.

    Raises:
        RunFolderError: two runs ask for the same; or a run's latencies are not those that the search began with.
    """
    sharers = tuple(_sharer(run, one, own) for one, own in targets.items())
    names = [target.name for sharer in sharers for target in sharer.targets]
    for name in names:
        if names.count(name) > 1:
            raise RunFolderError(
                f"Two of the runs ask for {name}: one of them is enough. If they are on different devices, give their "
                f"device files different names."
            )
    if run.folder.shared_targets.exists():
        known = read_shared_search(run.folder)
        for one, sharer in zip(targets, sharers, strict=True):
            require_own_targets(one, targets[one], _share_of_folder(known, sharer.folder))
        write_shared_search(known)
    else:
        write_shared_search(SharedSearch(holder=run.folder, sharers=sharers))


def require_own_targets(run: Run, targets: Sequence[LatencyTarget], share: Share) -> None:
    """Raise unless the run's latencies are those that the shared search began with.

    Raises:
        RunFolderError: they are not.
    """
    named = [_named(run, target) for target in targets]
    if len(named) != len(share.own.targets) or not all(map(_is_same, named, share.own.targets)):
        raise RunFolderError(
            f"The budget, or the predictor, of {run.folder.path} is not the one that its search began with "
            f"({share.own.budget} on {share.own.device}). Put them back, or remove {share.search.holder.search} to "
            f"search again."
        )


def _sharer(holder: Run, run: Run, targets: Sequence[LatencyTarget]) -> Sharer:
    return Sharer(
        folder=seen_from(holder.folder.path, run.folder.path),
        device=run.device.name,
        budget=run.target.text,
        targets=tuple(_named(run, target) for target in targets),
    )


def _named(run: Run, target: LatencyTarget) -> LatencyTarget:
    """The name decides the draws and is what the log tells targets apart by: several runs may be of one device."""
    return replace(target, name=f"{target.name} at {run.target.text}")


def _is_same(now: LatencyTarget, then: LatencyTarget) -> bool:
    if (now.name, now.width, len(now.path_latency_ms)) != (then.name, then.width, len(then.path_latency_ms)):
        return False
    a, b = (np.concatenate([*one.path_latency_ms, [one.fixed_ms, one.target_ms]]) for one in (now, then))
    return a.shape == b.shape and np.allclose(a, b, rtol=SAME_MS, atol=0)


def _share_of_folder(search: SharedSearch, folder: str) -> Share:
    own = next(sharer for sharer in search.sharers if sharer.folder == folder)
    return Share(search=search, own=own)


def _refuse_repetition(runs: Sequence[Run]) -> None:
    seen: set[Path] = set()
    for run in runs:
        if run.folder.path.resolve() in seen:
            raise RunFolderError(
                f"{run.folder.path} is named twice; every run takes part once. For several budgets of one device give "
                f"each a run folder of its own: proxyless profile with the same --measurements times nothing again."
            )
        seen.add(run.folder.path.resolve())


def _refuse_another_search(run: Run, others: Sequence[Run]) -> None:
    """The search in ``run`` must be new, or begun with the very same runs; the others must not be in another one."""
    share = share_of(run.folder)
    if share is not None:
        begun_with = {found_from(share.search.holder.path, one.folder).resolve() for one in share.search.sharers}
        if share.own.folder != HOLDER or begun_with != {one.folder.path.resolve() for one in (run, *others)}:
            raise RunFolderError(
                f"The search for {run.folder.path} was begun with other runs. Go on with the same ones: "
                f"{share.search.command}. To begin another, remove {share.search.holder.search}."
            )
    elif _has_searched(run):
        raise _begun_already(run, "alone")
    for other in others:
        holder = holder_of(other.folder)
        if holder is not None and holder.resolve() != run.folder.path.resolve():
            raise _begun_already(other, f"in {holder}")
        if other.folder.shared_targets.exists():
            raise _begun_already(other, "with other runs")
        if holder is None and _has_searched(other):
            raise _begun_already(other, "alone")


def _has_searched(run: Run) -> bool:
    return SearchFiles(folder=run.folder.search).checkpoint.exists() or run.folder.architecture.exists()


def _begun_already(run: Run, how: str) -> RunFolderError:
    return RunFolderError(
        f"{run.folder.path} has begun a search already, {how}. To search for it together with others, remove "
        f"{run.folder.search} and what was derived from it, or profile another run folder."
    )


@dataclass(frozen=True)
class _Fact:
    """Something of a run that must be the same in all; ``value`` decides and ``shown`` is for people."""

    what: str
    value: Hashable
    shown: str


def _facts(run: Run) -> Iterator[_Fact]:
    """In an order that names a cause before what follows from it."""
    yield _Fact("preset", run.settings.preset, run.settings.preset)
    search = run.search_settings(1)
    weight = search.latency_weight_per_ms
    yield _Fact("estimator", search.estimator, search.estimator)
    yield _Fact("weight of the latency", weight, "that of a hard target" if weight is None else f"{weight:g} per ms")
    yield _Fact("seed", run.settings.seed, str(run.settings.seed))
    data, space = run.data, run.space
    channels, *size = data.image_shape
    yield _Fact("image size", tuple(size), " x ".join(map(str, size)))
    yield _Fact("count of colour channels", channels, str(channels))
    yield _Fact("set of classes", data.class_names, ", ".join(data.class_names))
    yield _Fact("count of training images", len(data.train_labels), f"{len(data.train_labels):,}")
    yield _Fact("data", data.hash, f"{run.settings.data} ({data.hash})")
    yield _Fact("space", space.hash, f"{run.settings.space} ({space.hash})")
