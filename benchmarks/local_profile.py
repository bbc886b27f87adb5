"""A profile of the small space on this machine: ops alone, networks to calibrate on, networks to judge by."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.local_devices import DEVICE_FILES
from latency_model.campaign import run_campaign
from latency_model.measurement import MeasurementSet, paid_ops
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from profiler_agent.device import TimingPlan, load_device
from profiler_agent.session import open_session
from search.space import SearchSpace
from search.spaces.registry import load_space

_IMAGE = (1, 28, 28)
_CLASS_COUNT = 10
_SEED = 7
_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class LocalProfile:
    """What was timed in one campaign, ``minutes`` long."""

    measured: MeasurementSet
    calibration: tuple[NetworkSpec, ...]
    held_out: tuple[NetworkSpec, ...]
    minutes: float


def small_space() -> SearchSpace:
    return load_space("small", _IMAGE, _CLASS_COUNT)


def profile_small_space(
    runtime: str,
    ops: Sequence[OpSpec],
    calibration_count: int,
    held_out_count: int,
    plan: TimingPlan | None = None,
) -> LocalProfile:
    """Time ``ops`` alone and random networks of the space in one campaign, which keeps no file.

    Args:
        ops: blocks of the space, or the kernels of those.
        plan: another than that of the device's file.
    Raises:
        ProxylessError: the device is not ready, or models failed.
    """
    networks = _random_networks(small_space(), calibration_count + held_out_count)
    calibration, held_out = networks[:calibration_count], networks[calibration_count:]
    single = [single_op_network(op) for op in ops]
    device = load_device(DEVICE_FILES / f"local_cpu_{runtime}.yaml")
    if plan is not None:
        device = replace(device, plan=plan)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, open_session(device) as session:
        for _ in range(_ATTEMPTS):  # what was timed only while the device was throttled is timed again
            measured = run_campaign(session, [*single, *calibration, *held_out], Path(folder) / "m.jsonl")
    minutes = (time.monotonic() - started) / 60
    return LocalProfile(measured=measured, calibration=calibration, held_out=held_out, minutes=minutes)


def _random_networks(space: SearchSpace, count: int) -> tuple[NetworkSpec, ...]:
    """Networks that differ in what they cost; the same ones each time."""
    rng = random.Random(_SEED)
    distinct: dict[tuple[OpSpec, ...], NetworkSpec] = {}
    while len(distinct) < count:
        network = space.network(space.sample(rng), f"random{len(distinct)}")
        distinct.setdefault(paid_ops(network), network)
    return tuple(distinct.values())
