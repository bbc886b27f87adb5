"""Progress with time left: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Update = Callable[[int, int], None]
LINE_EVERY_S = 10.0
IN_SECONDS_BELOW_S = 100.0
SPEED_OVER_S = 120.0
"""The speed behind the time left: long enough that a stall of seconds does not make hours of it."""


@contextmanager
def progress(console: Console, title: str) -> Iterator[Update]:
    """Yields a function of (done, total) that shows how far the work is and how long it will take."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, speed_estimate_period=SPEED_OVER_S) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    yield _LineProgress(console, title, time.monotonic)


class _LineProgress:
    """Prints a line every ten seconds; the time left follows the speed of the last two minutes."""

    def __init__(self, console: Console, title: str, clock_s: Callable[[], float]) -> None:
        self.console, self.title, self.clock_s = console, title, clock_s
        self.line_at_s = clock_s()
        self.lines: deque[tuple[float, int]] = deque()
        self.last_done: int | None = None
        self.first_done, self.is_starting = 0, True

    def __call__(self, done: int, total: int) -> None:
        now_s = self.clock_s()
        self._begin(now_s, done)
        is_new_end = done >= total and done != self.last_done
        self.last_done = done
        if not is_new_end and now_s - self.line_at_s < LINE_EVERY_S:
            return
        self.line_at_s = now_s
        self.lines.append((now_s, done))
        while now_s - self.lines[1][0] >= SPEED_OVER_S:
            self.lines.popleft()
        began_s, began_done = self.lines[0]
        speed = (done - began_done) / (now_s - began_s) if now_s > began_s else 0.0
        left = f", about {_in_words((total - done) / speed)} left" if speed > 0 and done < total else ""
        self.console.print(f"{self.title}: {done} of {total}{left}", highlight=False)

    def _begin(self, now_s: float, done: int) -> None:
        """Speed counts from the first step's end on: work that is taken up again does not begin at 0, and a first step
        is slow."""
        if not self.lines:
            self.lines.append((now_s, done))
            self.first_done = done
        elif self.is_starting and done > self.first_done:
            self.lines, self.is_starting = deque([(now_s, done)]), False


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < IN_SECONDS_BELOW_S else f"{seconds / 60:.0f} min"
