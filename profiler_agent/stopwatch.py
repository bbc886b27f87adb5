"""Adds up stretches of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """``total_s``: how long it ran so far, over all stretches."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self.total_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs inside the block, also when that ends with an error."""
        started = self._clock_s()
        try:
            yield
        finally:
            self.total_s += self._clock_s() - started

    def until_each(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items as they come: runs while the next one is made, and not while somebody uses it."""
        while True:
            with self.running():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
