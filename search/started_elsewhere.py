"""Paths that a run keeps as they were given: from another folder relative ones lead nowhere; one has many spellings."""

from __future__ import annotations

from pathlib import Path

from search.errors import RunFolderError

_NO_PATHS = ("digits", "fashion-mnist")


def is_path(value: str) -> bool:
    """Whether it is none of a data set's own names and no package.module:function."""
    return value not in _NO_PATHS and ":" not in value


def is_same_place(one: str | None, other: str | None) -> bool:
    """Whether two spellings, of which one may be relative or go through a link, lead to one file or folder."""
    if one is None or other is None or not (is_path(one) and is_path(other)):
        return False
    paths = Path(one).expanduser(), Path(other).expanduser()
    return all(path.exists() for path in paths) and paths[0].samefile(paths[1])


def require_in_reach(settings_file: Path, name: str, value: str) -> None:
    """Raise when an existing run was given a relative path that is not there as seen from the current folder.

    A new run has no settings file yet: what is wrong with its paths is told by whoever reads them.

    Raises:
        RunFolderError: it is not there.
    """
    path = Path(value).expanduser()
    if not is_path(value) or path.is_absolute() or path.exists() or not settings_file.exists():
        return
    raise RunFolderError(
        f"The run {settings_file.parent} was started with --{name} {value}, which is not there as seen from "
        f"{Path.cwd()}. Give the command in the folder where the run was started, or write the full path as "
        f"{name!r} in {settings_file}."
    )
