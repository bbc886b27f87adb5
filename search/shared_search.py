"""A search that several runs share: whom it serves stands where it lies (targets.json); the other runs point to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.architecture_step import LatencyTarget
from search.errors import RunFolderError
from search.files import read_json, write_json
from search.run import RunFolder

SCHEMA = 1
HOLDER = "."


@dataclass(frozen=True, kw_only=True)
class Sharer:
    """One run that the search serves, and its own targets (one for each width of the space that is in reach).

    ``folder``: as seen from the run folder that holds the search, which is itself ".".
    """

    folder: str
    device: str
    budget: str
    targets: tuple[LatencyTarget, ...]


@dataclass(frozen=True, kw_only=True)
class SharedSearch:
    """The search in ``holder`` and the runs that it serves. Latencies are kept as they were when it began, so that each
    run goes on from it without the device files and predictors of the others."""

    holder: RunFolder
    sharers: tuple[Sharer, ...]

    @property
    def targets(self) -> tuple[LatencyTarget, ...]:
        return tuple(target for sharer in self.sharers for target in sharer.targets)

    @property
    def command(self) -> str:
        """What begins this search and goes on with it."""
        others = [found_from(self.holder.path, one.folder) for one in self.sharers if one.folder != HOLDER]
        return " ".join([f"proxyless search {self.holder.path}", *(f"--with {other}" for other in others)])


@dataclass(frozen=True, kw_only=True)
class Share:
    """One run's part of a shared search."""

    search: SharedSearch
    own: Sharer


def share_of(folder: RunFolder) -> Share | None:
    """The run's part of the search that it shares; None when it shares none.

    Raises:
        RunFolderError: the run points to a search that is gone, or that serves other runs.
    """
    holder, key = folder, HOLDER
    if not folder.shared_targets.exists():
        if not folder.shared.exists():
            return None
        holder, key = _pointer(folder)
    if holder.shared_targets.exists():
        search = read_shared_search(holder)
        for sharer in search.sharers:
            if sharer.folder == key:
                return Share(search=search, own=sharer)
    raise RunFolderError(
        f"{folder.path} was searched together with {holder.path}, and no search is there now that serves it. Put that "
        f"run folder back, or remove {folder.shared} to search for {folder.path} again."
    )


def holder_of(folder: RunFolder) -> Path | None:
    """The run folder that holds the search of this run, whether it is still there or not; None for its own."""
    return _pointer(folder)[0].path if folder.shared.exists() else None


def read_shared_search(holder: RunFolder) -> SharedSearch:
    """Read whom the search in this run folder serves.

    Raises:
        RunFolderError: another version, or damaged.
    """
    data = _read(holder.shared_targets, "sharers")
    return SharedSearch(holder=holder, sharers=tuple(_sharer_from_json(one) for one in data["sharers"]))


def write_shared_search(search: SharedSearch) -> None:
    """Write whom the search serves, then the files that point to it; done again, it completes what was interrupted."""
    sharers = [_sharer_to_json(sharer) for sharer in search.sharers]
    write_json(search.holder.shared_targets, {"schema": SCHEMA, "sharers": sharers})
    for sharer in search.sharers:
        if sharer.folder != HOLDER:
            folder = RunFolder(found_from(search.holder.path, sharer.folder))
            pointer = {"holder": seen_from(folder.path, search.holder.path), "folder": sharer.folder}
            write_json(folder.shared, {"schema": SCHEMA, **pointer})


def seen_from(folder: Path, other: Path) -> str:
    """The path of ``other`` relative to ``folder``: run folders that are moved together find each other."""
    return os.path.relpath(other.resolve(), folder.resolve())


def found_from(folder: Path, relative: str) -> Path:
    """The path that ``seen_from`` gave, for use from here; absolute when ``folder`` is."""
    found = (folder / relative).resolve()
    return found if folder.is_absolute() else Path(os.path.relpath(found))


def _pointer(folder: RunFolder) -> tuple[RunFolder, str]:
    data = _read(folder.shared, "holder", "folder")
    return RunFolder(found_from(folder.path, data["holder"])), str(data["folder"])


def _read(path: Path, *names: str) -> dict[str, Any]:
    data: dict[str, Any] = read_json(path)
    if data.get("schema") != SCHEMA or any(name not in data for name in names):
        raise RunFolderError(
            f"{path} has schema {data.get('schema')!r}; this version reads {SCHEMA}, with {', '.join(names)}. Use the "
            f"version of proxyless that wrote it, or remove the search and begin it again."
        )
    return data


def _sharer_to_json(sharer: Sharer) -> dict[str, Any]:
    targets = [
        {
            "name": target.name,
            "target_ms": target.target_ms,
            "width": target.width,
            "fixed_ms": target.fixed_ms,
            "path_latency_ms": [ms.tolist() for ms in target.path_latency_ms],
        }
        for target in sharer.targets
    ]
    return {"folder": sharer.folder, "device": sharer.device, "budget": sharer.budget, "targets": targets}


def _sharer_from_json(data: dict[str, Any]) -> Sharer:
    targets = tuple(
        LatencyTarget(**{**target, "path_latency_ms": tuple(np.array(ms) for ms in target["path_latency_ms"])})
        for target in data["targets"]
    )
    return Sharer(folder=data["folder"], device=data["device"], budget=data["budget"], targets=targets)
