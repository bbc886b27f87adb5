"""require_in_reach: a run keeps the paths that it was given; from another folder relative ones lead nowhere."""

from __future__ import annotations

from pathlib import Path

from search.errors import RunFolderError

_NO_PATHS = ("digits", "fashion-mnist")


def require_in_reach(settings_file: Path, name: str, value: str) -> None:
    """Raise when an existing run was given a relative path that is not there as seen from the current folder.

    A new run has no settings file yet: what is wrong with its paths is told by whoever reads them.

    Raises:
        RunFolderError: it is not there.
    """
    path = Path(value).expanduser()
    is_name = value in _NO_PATHS or ":" in value  # of a data set, or package.module:function
    if is_name or path.is_absolute() or path.exists() or not settings_file.exists():
        return
    raise RunFolderError(
        f"The run {settings_file.parent} was started with --{name} {value}, which is not there as seen from "
        f"{Path.cwd()}. Give the command in the folder where the run was started, or write the full path as "
        f"{name!r} in {settings_file}."
    )
