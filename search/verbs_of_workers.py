"""Which verbs several workers (``torchrun``) may run: those that share their work. Without torch: every verb asks."""

from __future__ import annotations

import os

from search.errors import WorkersWouldRace

SHARED = ("search", "train")


def require_shared_work(verb: str | None) -> None:
    """Raise when ``torchrun`` started several processes of a verb of which each would do everything: they would time on
    one device at once and write the same files.

    Raises:
        WorkersWouldRace: it did.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or verb is None or verb in SHARED:
        return
    raise WorkersWouldRace(
        f"torchrun started {count} processes of proxyless {verb}, which does not share its work: each would do all of "
        f"it and write the same files. Under torchrun only {' and '.join(SHARED)} work. Use torchrun ... -m search "
        f"search RUN on a run that proxyless profile and proxyless fit began, then the other verbs without torchrun: "
        f"proxyless run with the options that the run began with goes on from there, in one process."
    )
