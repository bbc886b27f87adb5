"""Campaigns: time many networks on one device, in batches, resumable, within a time budget."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from latency_model.errors import MeasurementError, MixedMeasurementsError
from latency_model.measurement import (
    OVERHEAD_PROBE,
    DeviceIdentity,
    Measurement,
    MeasurementSet,
    measurement_of,
    paid_ops,
)
from latency_model.measurement_file import append_measurement, read_measurements, require_appendable
from latency_model.model_files import write_model, write_references
from latency_model.network import NetworkSpec
from latency_model.ops import OpSpec
from profiler_agent.device import Device, TimingPlan
from profiler_agent.errors import ModelsFailed
from profiler_agent.runner import JobSeconds, one_process_s
from profiler_agent.session import ModelFile
from profiler_agent.timing import Timing

BATCH_SIZE = 48  # with a time limit: about what one process on the device times
UNHURRIED_BATCH_SIZE = 6 * BATCH_SIZE  # many processes in one run of the agent: the host adds less
# Seen on a quiet machine; only for `--dry-run` and the time left.
_USUAL_EXTRA_SESSIONS = 1.3

Progress = Callable[[int, int], None]


class SessionFacts(Protocol):
    """What a session knows of its device."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def runtime_name(self) -> str: ...
    @property
    def runtime_version(self) -> str: ...


class TimingSession(Protocol):
    """The part of ``profiler_agent.session.Session`` that a campaign uses."""

    @property
    def device(self) -> Device: ...
    @property
    def facts(self) -> SessionFacts: ...
    def time_models(
        self,
        models: Sequence[ModelFile],
        *,
        canary: ModelFile,
        company: Sequence[ModelFile] = (),
        plan: TimingPlan | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[Timing]: ...


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """What a campaign will do: what ``--dry-run`` prints.

    Attributes:
        networks: what is known to be timed.
        later_op_count: of ``op_count``, the ops that are chosen once others are timed.
    """

    networks: tuple[NetworkSpec, ...]
    op_count: int
    network_count: int
    measured_count: int
    batch_count: int
    estimated_seconds: float
    later_op_count: int = 0

    @property
    def is_finished(self) -> bool:
        return not self.networks and not self.later_op_count

    def __str__(self) -> str:
        known = f" ({self.measured_count} more measured already)" if self.measured_count else ""
        return (
            f"{_counted(self.op_count, 'op')} and {_counted(self.network_count, 'whole network')} to time{known}, in "
            f"{_counted(self.batch_count, 'batch', 'batches')}, about {self.estimated_seconds:.0f} s"
        )


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def plan_campaign(
    networks: Sequence[NetworkSpec],
    plan: TimingPlan,
    measured: MeasurementSet | None = None,
    job_s: JobSeconds = one_process_s,
    later_op_count: int = 0,
) -> CampaignPlan:
    """What is left to measure, each distinct network once, and how long that takes by the runner's ``job_s``.

    ``later_op_count`` more ops follow that are not known yet.
    The overhead probe comes first where single ops are to be measured: what they cost is read against it.

    Raises:
        MeasurementError: a network in which no op costs anything.
    """
    known = {m.paid_ops for m in measured.usable()} if measured is not None else set()
    distinct: dict[tuple[OpSpec, ...], NetworkSpec] = {}
    has_ops = any(len(paid_ops(network)) == 1 for network in networks)
    for network in (OVERHEAD_PROBE, *networks) if has_ops else networks:
        if not paid_ops(network):
            raise MeasurementError(f"Network {network.name!r} has no op that costs anything; nothing to time.")
        distinct.setdefault(paid_ops(network), network)
    left = [network for ops, network in distinct.items() if ops not in known]
    op_count = sum(len(paid_ops(network)) == 1 for network in left)
    batch_count = math.ceil(len(left) / BATCH_SIZE) + math.ceil(later_op_count / BATCH_SIZE)
    return CampaignPlan(
        networks=tuple(left),
        op_count=op_count + later_op_count,
        network_count=len(left) - op_count,
        measured_count=len(distinct) - len(left),
        batch_count=batch_count,
        estimated_seconds=_estimated_seconds(len(left) + later_op_count, batch_count, plan, job_s),
        later_op_count=later_op_count,
    )


def _estimated_seconds(model_count: int, batch_count: int, plan: TimingPlan, job_s: JobSeconds) -> float:
    if not batch_count:
        return 0.0
    sessions = plan.session_count * _USUAL_EXTRA_SESSIONS
    return sessions * batch_count * job_s(plan, math.ceil(model_count / batch_count))


def run_campaign(
    session: TimingSession,
    networks: Sequence[NetworkSpec],
    measurements_path: Path,
    *,
    minutes: float | None = None,
    on_progress: Progress | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> MeasurementSet:
    """Time what is not measured yet and append each result as it settles; with a time limit in the given order.

    Stopped at any moment it loses at most the batch that was running; started again it goes on.

    Args:
        session: open; its device names runtime and plan.
        networks: what to measure, the most useful first. Of equal networks one is timed.
        measurements_path: JSON lines; appended to, and read first to skip what is there.
        minutes: no batch starts that would end later; None for no limit. The first batch always runs.
        on_progress: called with (done, total) timings of one network in one session.
    Returns:
        All measurements of the file, old and new.
    Raises:
        ModelsFailed: some networks could not be timed; all others were, and are in the file.
        MixedMeasurementsError: the file holds measurements of another device, runtime or thread count.
        OSError: the file cannot be written; told before anything is timed.
    """
    identity = identity_of(session)
    before = _measured_before(measurements_path, identity)
    todo = plan_campaign(networks, session.device.plan, before)
    require_appendable(measurements_path)
    start_s, started = clock_s(), 0
    failures: dict[str, str] = {}
    batches = mixed_batches(todo.networks) if minutes is None else split_batches(todo.networks)
    for batch in batches:
        elapsed_s = clock_s() - start_s
        if minutes is not None and started and elapsed_s * (1 + len(batch) / started) > minutes * 60:
            break
        progress = _part_of(on_progress, started, len(todo.networks), session.device.plan.session_count)
        try:
            for measurement in time_networks(session, batch, on_progress=progress):
                append_measurement(measurements_path, measurement)
        except ModelsFailed as error:
            failures.update(error.failures)
        started += len(batch)
    if failures:
        raise ModelsFailed(failures)
    if not measurements_path.is_file():
        return MeasurementSet(())
    return read_measurements(measurements_path)


def mixed_batches(networks: Sequence[NetworkSpec]) -> list[Sequence[NetworkSpec]]:
    """Batches that each hold ops, calibration and held-out networks alike: the level of a device differs a little
    from process to process, and what is fitted must not all come from another hour than what judges it."""
    count = math.ceil(len(networks) / UNHURRIED_BATCH_SIZE)
    return [networks[part::count] for part in range(count)]


def split_batches(networks: Sequence[NetworkSpec]) -> list[Sequence[NetworkSpec]]:
    """Batches of nearly equal size, at most BATCH_SIZE, in order."""
    count = math.ceil(len(networks) / BATCH_SIZE)
    edges = [round(len(networks) * part / count) for part in range(count + 1)] if count else [0]
    return [networks[low:high] for low, high in pairwise(edges)]


def _part_of(report: Progress | None, before: int, total: int, session_count: int) -> Progress | None:
    """A batch's progress as part of the campaign's."""
    if report is None:
        return None
    return lambda done, _: report(before * session_count + done, total * session_count)


def time_networks(
    session: TimingSession, networks: Sequence[NetworkSpec], *, on_progress: Progress | None = None
) -> Iterator[Measurement]:
    """Lower one batch to the device's runtime, time it with the canary, and judge each timing as it settles.

    Raises:
        ModelsFailed: after all others were yielded, when some networks crashed, hung or were refused.
    """
    identity, plan = identity_of(session), session.device.plan
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proxyless-")))
        runtime = session.device.runtime.name
        by_id: Mapping[str, NetworkSpec] = {f"net{index:04d}": net for index, net in enumerate(networks)}
        models = [
            ModelFile(model_id=model_id, path=write_model(network, runtime, folder / model_id))
            for model_id, network in by_id.items()
        ]
        canary, company = write_references(runtime, folder)
        try:
            for timing in session.time_models(
                models, canary=canary, company=company, plan=plan, on_progress=on_progress
            ):
                yield measurement_of(by_id[timing.model_id], identity, plan, timing)
        except ModelsFailed as error:
            raise ModelsFailed({by_id[key].name: why for key, why in error.failures.items()}) from error


def identity_of(session: TimingSession) -> DeviceIdentity:
    """What makes this session's latencies comparable with others."""
    return DeviceIdentity(
        device_name=session.device.name,
        fingerprint=session.facts.fingerprint,
        runtime=session.facts.runtime_name,
        runtime_version=session.facts.runtime_version,
        thread_count=session.device.runtime.thread_count,
        accelerator=session.device.runtime.accelerator,
        core_mask=session.device.runtime.core_mask,
        burst_warmup_runs=session.device.plan.burst_warmup_runs,
    )


def _measured_before(path: Path, identity: DeviceIdentity) -> MeasurementSet | None:
    if not path.is_file():
        return None
    before = read_measurements(path)
    if len(before) and before.identity != identity:
        raise MixedMeasurementsError(
            f"{path} holds measurements of {before.identity}; this is {identity}. Their latencies cannot be "
            "compared: give another file."
        )
    return before
