"""A stopwatch adds up what it is told to time, and nothing between."""

from __future__ import annotations

import itertools

import pytest

from profiler_agent.stopwatch import Stopwatch


def stopwatch() -> Stopwatch:
    """Its clock goes one second further whenever it is read."""
    seconds = itertools.count()
    return Stopwatch(clock_s=lambda: float(next(seconds)))


def test_stretches_add_up_and_pauses_between_do_not_count():
    watch = stopwatch()
    for _ in range(3):
        with watch.running():
            pass
    assert watch.total_s == 3.0


def test_a_stretch_that_ends_with_an_error_counts():
    watch = stopwatch()
    with pytest.raises(KeyError), watch.running():
        raise KeyError
    assert watch.total_s == 1.0


def test_making_items_counts_and_using_them_does_not():
    watch = stopwatch()
    used = []
    for item in watch.until_each(iter("ab")):
        used.append((item, watch.total_s))
        watch._clock_s()
    assert used == [("a", 1.0), ("b", 2.0)] and watch.total_s == 3.0
