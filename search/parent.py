"""Ends a training whose starter was killed: resumed, another process trains the same network in the same folder."""

from __future__ import annotations

import os

from search.errors import RunFolderError
from search.progress import Update

PARENT = "PROXYLESS_PARENT"


def while_parent_lives(on_step: Update | None, worker_count: int) -> Update:
    """A progress function that ends this process when the one that started it only to train is gone.

    Args:
        on_step: called first with every (done, total).
        worker_count: more than one were started by ``torchrun``, which they must not outlive.
    """
    named = os.environ.get(PARENT)
    parent = int(named) if named is not None else os.getppid() if worker_count > 1 else None

    def watched(done: int, total: int) -> None:
        if parent is not None and os.getppid() != parent:
            raise RunFolderError("What started this training is gone; it goes on when the same command is run again.")
        if on_step is not None:
            on_step(done, total)

    return watched
