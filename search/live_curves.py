"""Live curves: what a search or a training logs, as TensorBoard shows it. Nothing is written where it is absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from search.progress import Update

EVERY = 20
NO_CURVES = {"step", "total_steps", "seconds", "epoch", "architecture_seconds", "device_seconds"}
OF_ONE_TARGET = {"held_out_loss", "expected_ms", "derived_ms", "multiplier", "entropy"}


class _Writer(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...
    def flush(self) -> None: ...


class EventFollower:
    """Reads what was appended to an event log since it last looked, and passes the numbers on.

    A search may be for several targets, with several events in a step: the figures of all but ``first_target`` have
    curves of their own.
    """

    def __init__(self, events: Path, writer: _Writer, prefix: str, first_target: str | None = None) -> None:
        self.events, self.writer, self.prefix, self.first_target = events, writer, prefix, first_target
        self.offset = events.stat().st_size if events.exists() else 0
        self.step = -1

    def look(self) -> int:
        """How many new events there were."""
        count = 0
        for event in self._new_events():
            count += 1
            for name, value in event.items():
                if name not in NO_CURVES and isinstance(value, int | float) and not isinstance(value, bool):
                    self._add(event, name, float(value))
            self.step = event["step"]
        if count:
            self.writer.flush()
        return count

    def _add(self, event: dict[str, Any], name: str, value: float) -> None:
        if name in OF_ONE_TARGET and event["target"] != self.first_target:
            self.writer.add_scalar(f"{self.prefix}/{name} ({event['target']})", value, event["step"])
        elif name in OF_ONE_TARGET or event["step"] != self.step:
            self.writer.add_scalar(f"{self.prefix}/{name}", value, event["step"])

    def _new_events(self) -> Iterator[dict[str, Any]]:
        if not self.events.exists():
            return
        with self.events.open("rb") as file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                yield json.loads(line)


@contextmanager
def live_curves(
    events: Path, folder: Path, prefix: str, step: int, update: Update | None, first_target: str | None = None
) -> Iterator[Update]:
    """Yields a progress function that also passes new events on to TensorBoard now and then.

    Args:
        step: the first step that will be logged; curves of a resumed run go on from there.
        update: called with every (done, total).
        first_target: of a search, the name of the target whose curves need no name.
    """
    if find_spec("tensorboard") is None:
        yield update or _ignore
        return
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - slow to import

    writer = SummaryWriter(str(folder), purge_step=step)
    follower = EventFollower(events, writer, prefix, first_target)

    def on_step(done: int, total: int) -> None:
        if done % EVERY == 0 or done == total:
            follower.look()
        if update is not None:
            update(done, total)

    try:
        yield on_step
    finally:
        follower.look()
        writer.close()


def _ignore(done: int, total: int) -> None:
    """Progress that nobody watches."""
