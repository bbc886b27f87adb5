"""A profile of the small space on this machine: its blocks alone, networks to calibrate on, networks to judge by."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_model.campaign import run_campaign
from latency_model.measurement import MeasurementSet, paid_ops
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from profiler_agent.device import load_device
from profiler_agent.session import open_session
from search.space import SearchSpace
from search.spaces.registry import load_space

_DEVICES = Path(__file__).resolve().parents[1] / "device_configs"
_IMAGE = (1, 28, 28)
_CLASS_COUNT = 10
_SEED = 7


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
    runtime: str, calibration_count: int, held_out_count: int, more_ops: Sequence[OpSpec] = ()
) -> LocalProfile:
    """Time every block of the space, ``more_ops`` and random networks in one campaign, which keeps no file.

    Raises:
        ProxylessError: the device is not ready, or models failed.
    """
    space = small_space()
    networks = _random_networks(space, calibration_count + held_out_count)
    calibration, held_out = networks[:calibration_count], networks[calibration_count:]
    ops = [single_op_network(op) for op in dict.fromkeys((*space.unique_ops(), *more_ops))]
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_session(load_device(_DEVICES / f"local_cpu_{runtime}.yaml")) as session,
    ):
        measured = run_campaign(session, [*ops, *calibration, *held_out], Path(folder) / "m.jsonl")
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
