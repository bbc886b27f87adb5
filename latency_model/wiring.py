"""Wiring: which layers each layer takes, for networks that are no chain, and the one walk that follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from latency_model.ops import OpSpecError

Value = TypeVar("Value")
Wiring: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""(layer, the layers it takes) for each layer that does not take just the one before it."""
INPUT = "input"


@dataclass(frozen=True)
class Step:
    """One layer, the values it takes, and those that no later layer takes."""

    name: str
    sources: tuple[str, ...]
    done_with: tuple[str, ...] = ()


def steps_of(names: Sequence[str], wiring: Wiring, first: str = INPUT) -> tuple[Step, ...]:
    """The layers in the order in which they run, from the value called ``first``.

    Raises:
        OpSpecError: a layer takes one that has not run yet or that does not exist, or nothing takes what a layer gives.
    """
    wired = dict(wiring)
    if unknown := sorted(set(wired) - set(names)):
        raise OpSpecError(f"The wiring names {unknown[0]!r}, which is no layer.")
    before = [first, *names]
    steps = [Step(name, wired.get(name, (before[index],))) for index, name in enumerate(names)]
    last_use: dict[str, int] = {}
    for index, step in enumerate(steps):
        if missing := [source for source in step.sources if source not in before[: index + 1]]:
            raise OpSpecError(f"Layer {step.name!r} takes {missing[0]!r}, which has not run before it.")
        last_use |= dict.fromkeys(step.sources, index)
    if unused := [name for name in before[:-1] if name not in last_use]:
        raise OpSpecError(f"Nothing takes what {unused[0]!r} gives.")
    done: dict[int, list[str]] = {}
    for name, index in last_use.items():
        done.setdefault(index, []).append(name)
    return tuple(Step(step.name, step.sources, tuple(done.get(i, ()))) for i, step in enumerate(steps))


def walk(steps: Sequence[Step], first: Value, run: Callable[[str, list[Value]], Value]) -> Value:
    """What the last layer gives when ``run(name, values)`` runs each; a value is let go after its last use."""
    values = {steps[0].sources[0]: first}
    for step in steps:
        result = run(step.name, [values[source] for source in step.sources])
        for name in step.done_with:
            del values[name]
        values[step.name] = result
    return values[steps[-1].name]
