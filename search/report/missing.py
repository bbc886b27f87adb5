"""What stands in place of what is missing: a part of the run that is not there yet, a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Missing:
    """``what`` is missing, and ``command`` makes it."""

    what: str
    command: str


def missing(what: str, verb: str, folder: Path) -> Missing:
    return Missing(what, f"proxyless {verb} {folder}")


def outdated_note(titles: Sequence[str], folder: Path) -> str | None:
    """Of which networks the page shows earlier files and timings; None when of none.

    Args:
        titles: of the networks that changed since they were timed.
    """
    if not titles:
        return None
    return (
        f"{', '.join(titles)} changed since it was timed: trained anew, or a file of it was changed or lost. Its "
        f"latency and its exported files below may be those of before. These make them anew: proxyless "
        f"export {folder}, then verify {folder}, then report {folder}."
    )


def unpredicted_note(titles: Sequence[str]) -> str | None:
    """Why measured networks have a dash for a prediction; None when all have one.

    Args:
        titles: of the networks that were measured and have none.
    """
    if not titles:
        return None
    return (
        f"No prediction for {', '.join(titles)}: the predictor has no measurement of a layer of such a size, and does "
        f"not guess."
    )
