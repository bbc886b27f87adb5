"""One process at a time in a run folder: two would write over each other's files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import RunFolderError

_OWN: set[Path] = set()
"""Folders that this process holds: a step inside of the push button asks again."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go when it ends, however it does. Where a file system knows no
    locks nothing is held.

    Raises:
        RunFolderError: another process holds it.
    """
    own = folder.resolve()
    if own in _OWN:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        _OWN.add(own)
        try:
            yield
        finally:
            _OWN.discard(own)
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunFolderError(
            f"Another process is at work in {folder}, and two would write over each other's files. Wait until it is "
            "done, or end it; then the same command goes on from there."
        ) from error
    except OSError:
        return
