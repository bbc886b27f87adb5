"""The rows of the scale model about a fleet of phones: a profile measured here, and what follows from it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured
from benchmarks.local_devices import DEVICE_FILES, QUICK_PLAN
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.scale_fleet import PhoneJob, ProfileClock, RunnerCost, few_shot_share, mean_cost
from benchmarks.scale_search import path_mean
from latency_model.campaign import run_campaign
from latency_model.kernels import macs
from latency_model.model_files import write_model
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from latency_model.readers import read_yaml_table
from profiler_agent.bundle import file_sha256
from profiler_agent.device import TimingPlan, load_device
from profiler_agent.errors import ProxylessError
from profiler_agent.session import open_session
from search.presets import PRESETS
from search.spaces.imagenet import imagenet_space, imagenet_widths_space

RUNTIME, PHONE_RUNTIME = "onnxruntime", "litert"
FULL_STEP, QUICK_STEP = 5, 15
"""Of the six candidates of each position, odd steps meet all."""
CLOCK_ERROR = 0.25
MINUTES = 15.0
LOWERED_NETWORKS = 3
PHONES_PER_HOST, HOST_CORES = 32, 8
LINK_BYTES_PER_S = 30e6
FLEET, FEW_NETWORKS, FEW_SHARE = 100, 20, 0.5
MEGABYTE = 1e6
PIXEL1_START_MS = 48.0
"""To load the ProxylessNAS mobile network there: logs/proxyless_mobile_10_latency.txt of the released code."""
PIXEL1_TABLE = "pixel1_proxylessnas/mobile_trim.yaml"
MINUTES_TEXT = "minutes to profile the ImageNet space on a phone"


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """One op and one random network in the mean: a core's seconds to write it for a phone and hash it, and its size."""

    op_s: float
    op_bytes: float
    network_s: float
    network_bytes: float


@dataclass(frozen=True, kw_only=True)
class PhoneWork:
    """What a full profile times on a phone: each op, and the whole networks that calibrate and judge a predictor."""

    op_ms: tuple[float, ...]
    network_ms: float
    network_count: int

    @property
    def model_count(self) -> int:
        return len(self.op_ms) + self.network_count

    def job(self, runner: RunnerCost, host_s_per_model: float, lowered: Lowered) -> PhoneJob:
        """Every model lowered for this phone alone, as a campaign does it now."""
        latency_ms = [*self.op_ms, *[self.network_ms] * self.network_count]
        return PhoneJob(
            phone_s=runner.profile_s(latency_ms, TimingPlan()),
            host_s=self.model_count * host_s_per_model + self.network_count * lowered.network_s,
            pushed_bytes=len(self.op_ms) * lowered.op_bytes + self.network_count * lowered.network_bytes,
        )


def fleet_claims(folder: Path, options: Options) -> Iterator[Claim]:
    """A small profile, the check of its cost on other blocks, and what a phone and a host would take."""
    ops = imagenet_space().unique_ops()
    step = QUICK_STEP if options.quick else FULL_STEP
    known = ops[::step]
    others = ops[step // 2 :: step] if options.quick else [op for op in ops if op not in known]
    try:
        small, host_s = timed_profile(known, folder / "small", quick=options.quick)
        check, _ = timed_profile(others, folder / "check", quick=options.quick)
        again, host_again_s = timed_profile(known, folder / "again", quick=options.quick)
        cost = mean_cost(small.cost(), again.cost())
    except (ProxylessError, ValueError) as error:
        yield not_measured("seconds of a profile, predicted over the clock", "0.8 to 1.25", str(error).splitlines()[0])
        return
    yield from local_claims(cost, small, check)
    host_s_per_model = (host_s + host_again_s) / (2 * len(known))
    yield from phone_claims(folder, cost, host_s_per_model, (options.data or DEFAULT_FOLDER) / PIXEL1_TABLE)


def timed_profile(ops: Sequence[OpSpec], folder: Path, *, quick: bool) -> tuple[ProfileClock, float]:
    """Time the ops alone, in a folder of their own, so that no other session is waited for. Also gives this process's
    seconds on a core.

    Raises:
        ProxylessError: the runtime is missing, or a block could not be timed.
    """
    device = load_device(DEVICE_FILES / f"local_cpu_{RUNTIME}.yaml")
    device = replace(device, directory=f"{folder}/device/proxyless", plan=QUICK_PLAN if quick else device.plan)
    with open_session(device) as session:
        started_s, host_s = time.monotonic(), time.process_time()
        measured = run_campaign(session, [single_op_network(op) for op in ops], folder / "measurements.jsonl")
        clock = ProfileClock(
            clock_s=time.monotonic() - started_s - session.waited_s,
            start_up_s=session.start_up_s,
            latency_ms=[one.latency_ms for one in measured.measurements],
            session_counts=[len(one.timing.sessions) for one in measured.measurements],
            plan=device.plan,
        )
        return clock, time.process_time() - host_s


def local_claims(cost: RunnerCost, small: ProfileClock, check: ProfileClock) -> Iterator[Claim]:
    """The cost model against the clock, and the whole space by the clock."""
    ratio = cost.profile_s(check.latency_ms, check.plan) / check.clock_s
    low, high = 1 / (1 + CLOCK_ERROR), 1 + CLOCK_ERROR
    yield Claim(
        claim=f"seconds to profile {len(check.latency_ms)} blocks at 224 pixels, predicted over the clock",
        value=ratio,
        unit="ratio",
        aim=f"{low:g} to {high:g}",
        holds=low <= ratio <= high,
        note=f"clock {check.clock_s:.0f} s; fitted on {len(small.latency_ms)} others, timed before and after: "
        f"{cost.model_session_s:.2f} s for each model and session beside its runs, {cost.process_s:.2f} s for each "
        f"process, {cost.sessions_per_model:.2f} sessions each, while these took {check.sessions_per_model:.2f}; what "
        "else runs on the machine in either minute counts",
    )
    op_count, timed_count = len(imagenet_space().unique_ops()), len(small.latency_ms) + len(check.latency_ms)
    seconds = (small.clock_s + check.clock_s) / timed_count
    yield at_most(
        f"minutes to profile all {op_count} ops of the ImageNet space on this machine, {RUNTIME}",
        seconds * op_count / 60,
        MINUTES,
        unit="minutes",
        note=f"{seconds:.2f} s a model, the mean of {timed_count} measured; the aim is the issue's for the small space",
    )


def phone_claims(folder: Path, cost: RunnerCost, host_s_per_model: float, table: Path) -> Iterator[Claim]:
    """One phone, one host and a fleet."""
    if not table.is_file():
        yield not_measured(MINUTES_TEXT, f"<= {MINUTES:g}", f"no {PIXEL1_TABLE} with a phone's published latencies")
        return
    work, lowered = phone_work(table), lower_all(folder)
    runner = replace(cost, start_ms=PIXEL1_START_MS)
    full = work.job(runner, host_s_per_model, lowered)
    slow = work.job(replace(runner, has_process_per_round=True), host_s_per_model, lowered)
    yield minutes_claim(work, full, slow, cost)
    yield lowering_claim(work, full, lowered)
    yield host_claim(full)
    few = replace(full, phone_s=runner.profile_s([work.network_ms] * FEW_NETWORKS, TimingPlan()))
    yield fleet_claim(full, few)


def phone_work(table: Path) -> PhoneWork:
    """Ops at the published latencies; those without one are left out, of networks too (the pool, in this table)."""
    timings = read_yaml_table(table)
    known_ms = dict(zip(timings.ops, map(float, timings.latency_ms), strict=True))
    space, preset = imagenet_space(), PRESETS["standard"]
    return PhoneWork(
        op_ms=tuple(known_ms[op] for op in space.unique_ops() if op in known_ms),
        network_ms=path_mean(space, lambda op: known_ms.get(op, 0.0)),
        network_count=preset.calibration_networks + preset.held_out_networks,
    )


def lower_all(folder: Path) -> Lowered:
    """All ops of the space and some random networks, written one by one."""
    space, rng = imagenet_space(), random.Random(0)
    ops = [single_op_network(op) for op in space.unique_ops()]
    networks = [space.network(space.sample(rng)) for _ in range(LOWERED_NETWORKS)]
    write_model(ops[0], PHONE_RUNTIME, folder / "model")  # what is loaded late is loaded now
    (op_s, op_bytes), (network_s, network_bytes) = written(ops, folder), written(networks, folder)
    return Lowered(op_s=op_s, op_bytes=op_bytes, network_s=network_s, network_bytes=network_bytes)


def written(networks: Sequence[NetworkSpec], folder: Path) -> tuple[float, float]:
    """A core's seconds for one model, and its bytes."""
    started_s, size_bytes = time.process_time(), 0
    for network in networks:
        path = write_model(network, PHONE_RUNTIME, folder / "model")
        file_sha256(path)
        size_bytes += path.stat().st_size
    return (time.process_time() - started_s) / len(networks), size_bytes / len(networks)


def minutes_claim(work: PhoneWork, full: PhoneJob, slow: PhoneJob, cost: RunnerCost) -> Claim:
    wide, narrow = imagenet_widths_space().unique_ops(), imagenet_space().unique_ops()
    return not_measured(
        MINUTES_TEXT,
        f"<= {MINUTES:g}",
        f"on paper: {full.phone_s / 60:.1f} with one process a session, {slow.phone_s / 60:.1f} with benchmark_model, "
        f"which starts one for each round; {len(work.op_ms)} ops and {work.network_count} whole networks of "
        f"{work.network_ms:.0f} ms, at the published latencies of a Pixel 1, default plan; measured here: "
        f"{cost.model_session_s:.2f} s beside the runs; the {len(wide)} ops of three widths have "
        f"{sum(map(macs, wide)) / sum(map(macs, narrow)):.1f} x the multiply-accumulates",
    )


def lowering_claim(work: PhoneWork, full: PhoneJob, lowered: Lowered) -> Claim:
    lowering_s = len(work.op_ms) * lowered.op_s + work.network_count * lowered.network_s
    return at_least(
        "phone's seconds to time its models over the host's to lower them",
        full.phone_s / lowering_s,
        PHONES_PER_HOST,
        unit="ratio",
        note=f"so many phones could one core lower for; measured: {1 / lowered.op_s:.0f} ops/s and "
        f"{1 / lowered.network_s:.1f} whole networks/s written as TFLite and hashed, "
        f"{lowered.op_bytes / MEGABYTE:.2f} and {lowered.network_bytes / MEGABYTE:.1f} MB each; the phone's seconds "
        "are on paper",
    )


def host_claim(full: PhoneJob) -> Claim:
    count, limit = full.per_host(HOST_CORES, LINK_BYTES_PER_S)
    return not_measured(
        f"phones that a host of {HOST_CORES} cores keeps busy",
        f">= {PHONES_PER_HOST}",
        f"on paper: {count}, then {limit} is full ({full.per_core()} for each core, {full.per_link(LINK_BYTES_PER_S)} "
        f"for the link); measured: {full.host_s:.1f} s of a core here for each phone, adb's own time not counted, and "
        f"{full.pushed_bytes / MEGABYTE:.0f} MB pushed; assumed: {LINK_BYTES_PER_S / MEGABYTE:g} MB/s over one shared "
        "USB 2 link; next: lower each model once for all phones, push half-precision weights, a link for every few "
        "phones, then more hosts, which share nothing",
    )


def fleet_claim(full: PhoneJob, few: PhoneJob) -> Claim:
    at_once = min(FLEET, full.per_host(HOST_CORES, LINK_BYTES_PER_S)[0])
    return not_measured(
        f"phone time of {FLEET} phones, the first in full and the others by {FEW_NETWORKS} networks, over all in full",
        f"<= {FEW_SHARE:g}",
        f"on paper: {few_shot_share(full, few, FLEET):.2f}; {few.phone_s / 60:.1f} minutes for each further phone; in "
        f"full, {at_once} at once on one host {full.fleet_minutes(FLEET, at_once):.0f} minutes, one after another "
        f"{full.fleet_minutes(FLEET, 1) / 60:.1f} hours",
    )
