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
    """Prints a line every ten seconds; the time left follows the speed since the line before."""

    def __init__(self, console: Console, title: str, clock_s: Callable[[], float]) -> None:
        self.console, self.title, self.clock_s = console, title, clock_s
        self.line_at_s, self.line_done = clock_s(), 0
        self.last_done: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now_s = self.clock_s()
        is_new_end = done >= total and done != self.last_done
        self.last_done = done
        if not is_new_end and now_s - self.line_at_s < LINE_EVERY_S:
            return
        speed = (done - self.line_done) / (now_s - self.line_at_s) if now_s > self.line_at_s else 0.0
        left = f", about {(total - done) / speed:.0f} s left" if speed > 0 and done < total else ""
        self.line_at_s, self.line_done = now_s, done
        self.console.print(f"{self.title}: {done} of {total}{left}", highlight=False)
