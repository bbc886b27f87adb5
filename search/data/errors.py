"""What can be wrong with somebody's images."""

from __future__ import annotations

from collections.abc import Sequence

from profiler_agent.errors import ProxylessError


class DataError(ProxylessError, ValueError):
    """Images or labels that cannot be searched on; the message says how to mend them."""


def name_a_few(items: Sequence[object], *, shown: int = 3) -> str:
    """The first few items, and how many more there are."""
    text = ", ".join(str(item) for item in items[:shown])
    return text if len(items) <= shown else f"{text} and {len(items) - shown} more"
