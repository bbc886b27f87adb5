"""Progress with time left: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Update = Callable[[int, int], None]
LINE_EVERY_S = 10.0


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
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    yield _LineProgress(console, title, time.monotonic)


class _LineProgress:
    def __init__(self, console: Console, title: str, clock_s: Callable[[], float]) -> None:
        self.console, self.title, self.clock_s = console, title, clock_s
        self.started = self.last_line = clock_s()
        self.first_done: int | None = None
        self.last_done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = self.clock_s()
        if self.first_done is None:
            self.first_done, self.started = done, now
        if done == self.last_done or (now - self.last_line < LINE_EVERY_S and done < total):
            return
        self.last_done = done
        self.last_line = now
        since = done - self.first_done
        left = f", about {(now - self.started) / since * (total - done):.0f} s left" if since and done < total else ""
        self.console.print(f"{self.title}: {done} of {total}{left}", highlight=False)
