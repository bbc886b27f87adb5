"""Device in the loop: during the search the networks that would be derived now are timed on the device.

The search itself knows no device: it is given a function that times networks and returns corrected latencies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from search.architecture_step import LatencyTarget
from search.space import Choices
from search.workers import Workers

Ask = Callable[[int, Sequence[LatencyTarget], Sequence[Choices]], Sequence["DeviceAnswer"]]


@dataclass(frozen=True)
class DeviceAnswer:
    """What a device says of one network, and the target with the latencies that are believed after it."""

    measured_ms: float
    target: LatencyTarget


@dataclass(frozen=True)
class DeviceLoop:
    """``ask(step, targets, choices)`` times one network per target and answers in the same order; it is called after
    every ``every_steps`` architecture steps."""

    every_steps: int
    ask: Ask


def shared_target(workers: Workers, target: LatencyTarget) -> LatencyTarget:
    """The first worker's latencies, on all workers."""
    values = [torch.tensor(ms, dtype=torch.float64) for ms in (*target.path_latency_ms, target.fixed_ms)]
    workers.from_first_(values)
    *paths, fixed_ms = values
    return target.with_latencies([ms.numpy() for ms in paths], float(fixed_ms))
