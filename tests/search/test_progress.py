"""Progress where there is no terminal: lines now and then, with the time left."""

from __future__ import annotations

import io

from rich.console import Console

from latency_model.progress import _LineProgress


def lines_of(updates, seconds_per_update):
    output, now_s = io.StringIO(), [0.0]
    update = _LineProgress(Console(file=output, width=100), "search", lambda: now_s[0])
    for done, total in updates:
        now_s[0] += seconds_per_update
        update(done, total)
    return output.getvalue().splitlines()


def test_a_line_comes_every_ten_seconds_and_at_the_end():
    lines = lines_of([(done, 30) for done in range(1, 31)], seconds_per_update=1.0)
    assert lines == ["search: 10 of 30, about 20 s left", "search: 20 of 30, about 10 s left", "search: 30 of 30"]


def test_the_end_is_told_once():
    assert lines_of([(3, 3), (3, 3), (3, 3)], seconds_per_update=1.0) == ["search: 3 of 3"]


def test_a_stall_of_seconds_does_not_make_hours_of_the_time_left():
    steady = [(5 * n, 1000) for n in range(1, 13)]
    assert (
        lines_of([*steady, (61, 1000), (62, 1000)], seconds_per_update=5.0)[-1]
        == "search: 62 of 1000, about 18 min left"
    )


def test_the_time_left_follows_the_last_two_minutes():
    slow = [(n, 1000) for n in range(1, 61)]
    assert lines_of([*slow, *((60 + 10 * n, 1000) for n in range(1, 31))], seconds_per_update=5.0)[-1] == (
        "search: 360 of 1000, about 5 min left"
    )


def test_work_that_is_taken_up_again_does_not_count_what_was_done_before():
    assert lines_of([(500, 600), (501, 600), (502, 600), (503, 600)], seconds_per_update=5.0)[-1] == (
        "search: 503 of 600, about 8 min left"
    )


def test_a_slow_first_step_does_not_count():
    assert lines_of([(0, 30), (0, 30), (0, 30), (1, 30), (2, 30), (3, 30)], seconds_per_update=5.0)[-1] == (
        "search: 3 of 30, about 2 min left"
    )
