"""This machine's processor under each runtime at hand, and whole networks or blocks timed on it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from latency_model.campaign import run_campaign
from latency_model.measurement import MeasurementSet
from latency_model.network import NetworkSpec
from profiler_agent.device import RuntimeName, TimingPlan, load_device
from profiler_agent.session import open_session

RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "litert", "torch")
QUICK_PLAN = TimingPlan(round_count=8, max_sessions=3)
"""Half the rounds and no session more than three: on a busy machine, most whole networks are noisy then."""
DEVICE_FILES = Path(__file__).resolve().parents[1] / "device_configs"


def measure_here(runtime: RuntimeName, networks: Sequence[NetworkSpec], *, quick: bool) -> MeasurementSet:
    """Each network once, on one thread, with the plan of the device's file, or with the short one. In a folder of its
    own, so that no other session is waited for.

    Raises:
        ProxylessError: the runtime is not installed, or a network cannot be timed.
    """
    device = load_device(DEVICE_FILES / f"local_cpu_{runtime}.yaml")
    plan = QUICK_PLAN if quick else device.plan
    with tempfile.TemporaryDirectory() as folder:
        device = replace(device, directory=f"{folder}/device/proxyless", plan=plan)
        with open_session(device) as session:
            measured = run_campaign(session, networks, Path(folder) / "measurements.jsonl")
            if quick:
                return measured
            return run_campaign(session, networks, Path(folder) / "measurements.jsonl")  # what was throttled, again
