"""A campaign that cannot measure everything in its time: first what stands for the rest, then what is least sure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from latency_model.campaign import CampaignPlan, Progress, TimingSession, plan_campaign, run_campaign
from latency_model.errors import TooFewSamplesError
from latency_model.experiment_design import choose_networks, choose_ops
from latency_model.measurement import MeasurementSet
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from latency_model.predictors import XGBoostPredictor
from latency_model.predictors.regression import kind_in_dtype
from profiler_agent.device import Device, TimingPlan
from profiler_agent.errors import ModelsFailed
from profiler_agent.runner import JobSeconds, one_process_s
from profiler_agent.runners import job_seconds

CALIBRATION_COUNT = 10
# Of the ops that the time allows, this share is chosen before any latency is known.
_BLIND_SHARE = 0.6


def affordable_count(
    networks: Sequence[NetworkSpec], plan: TimingPlan, minutes: float, job_s: JobSeconds = one_process_s
) -> int:
    """How many of the networks fit into the time, by the campaign's own estimate."""
    everything = plan_campaign(networks, plan, job_s=job_s)
    total = len(everything.networks)
    return min(total, int(total * minutes * 60 / everything.estimated_seconds)) if total else 0


def first_choice(
    ops: Sequence[OpSpec],
    networks: Sequence[NetworkSpec],
    plan: TimingPlan,
    minutes: float,
    job_s: JobSeconds = one_process_s,
    always: Sequence[NetworkSpec] = (),
) -> tuple[list[NetworkSpec], int]:
    """What to measure before anything is known, and how many more ops the time then allows.

    All of it when it fits; else ``always``, then calibration networks and ops that stand for the others. It depends on
    what is asked for alone, not on what is measured: the same campaign asked again has the same parts.
    """
    single = [single_op_network(op) for op in dict.fromkeys(ops)]
    count = affordable_count([*single, *networks], plan, minutes, job_s)
    if count >= len(single) + len(networks):
        return [*single, *networks], 0
    rest = [network for network in networks if network not in always]
    calibration_count = max(min(CALIBRATION_COUNT, count // 2) - len(always), 0)
    whole = list(choose_networks(rest, calibration_count)) if rest and calibration_count else []
    op_count = max(count - len(always) - len(whole), 1)
    blind = max(int(_BLIND_SHARE * op_count), 1)
    return [*always, *map(single_op_network, blind_choice(ops, blind)), *whole], op_count - blind


def blind_choice(ops: Sequence[OpSpec], count: int) -> list[OpSpec]:
    """Ops to measure before anything is known: one of every kind, as no regressor speaks of a kind that it has not
    seen, then those that stand for all others."""
    by_kind: dict[tuple[str, str], list[OpSpec]] = {}
    for op in ops:
        by_kind.setdefault(kind_in_dtype(op), []).append(op)
    one_of_each = [choose_ops(alike, 1)[0] for alike in by_kind.values()]
    return list(dict.fromkeys([*one_of_each, *choose_ops(ops, count)]))[:count]


def later_ops(
    ops: Sequence[OpSpec], first: Sequence[NetworkSpec], more: int, measured: MeasurementSet | None
) -> tuple[list[OpSpec], int]:
    """The second part of a campaign: its ops that are measured, and how many more it still has."""
    first_ops = {network.ops for network in first}
    known = {m.paid_ops for m in measured.usable()} if measured is not None else set()
    candidates = [op for op in dict.fromkeys(ops) if (op,) not in first_ops]
    done = [op for op in candidates if (op,) in known]
    return done, max(min(more, len(candidates)) - len(done), 0)


def plan_active_campaign(
    ops: Sequence[OpSpec],
    networks: Sequence[NetworkSpec],
    device: Device,
    *,
    minutes: float,
    measured: MeasurementSet | None = None,
    always: Sequence[NetworkSpec] = (),
) -> CampaignPlan:
    """What is left of both parts of a campaign of ``minutes``."""
    plan, job_s = device.plan, job_seconds(device)
    first, more = first_choice(ops, networks, plan, minutes, job_s, always)
    done, left = later_ops(ops, first, more, measured)
    return plan_campaign([*first, *map(single_op_network, done)], plan, measured, job_s, left)


def least_sure_ops(ops: Sequence[OpSpec], measured: MeasurementSet, count: int) -> list[OpSpec]:
    """The unmeasured ops with the widest intervals in milliseconds, by a regressor on what is measured.

    Raises:
        UnknownOpError: an op of a kind that was not measured at all.
    """
    timings = measured.op_timings()
    left = [op for op in dict.fromkeys(ops) if op not in set(timings.ops)]
    known_kinds = set(map(kind_in_dtype, timings.ops))
    unknown = [op for op in left if kind_in_dtype(op) not in known_kinds]  # nothing is less sure than these
    rest = [op for op in left if kind_in_dtype(op) in known_kinds]
    if len(unknown) >= count or not rest:
        return unknown[:count]
    try:
        predicted = XGBoostPredictor.fit(timings).predict_ms(rest)
    except TooFewSamplesError:
        return [*unknown, *choose_ops(rest, count - len(unknown))]
    widest = np.argsort(predicted.low_ms - predicted.high_ms, kind="stable")
    return [*unknown, *(rest[int(row)] for row in widest[: count - len(unknown)])]


def run_active_campaign(  # noqa: PLR0913 - the clock comes in for tests
    session: TimingSession,
    ops: Sequence[OpSpec],
    networks: Sequence[NetworkSpec],
    measurements_path: Path,
    *,
    minutes: float,
    always: Sequence[NetworkSpec] = (),
    on_progress: Progress | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> MeasurementSet:
    """Measure ops and networks within ``minutes``: all of them when they fit, else the best choice.

    Stopped in either part and started again, it goes on there; what the file holds counts as part of the minutes.

    Args:
        ops: what will be asked of the predictor.
        networks: candidates to calibrate on.
        always: those of them that are timed first, however short the time.
    Raises:
        MixedMeasurementsError: the file holds measurements of another device.
        ModelsFailed: some networks could not be timed; all others are in the file.
    """
    start_s = clock_s()
    first, more = first_choice(ops, networks, session.device.plan, minutes, job_seconds(session.device), always)
    failures: dict[str, str] = {}
    try:
        measured = run_campaign(
            session, first, measurements_path, minutes=minutes, on_progress=on_progress, clock_s=clock_s
        )
    except ModelsFailed as error:  # one that always fails must not keep the second part from its turn
        if not measurements_path.is_file():
            raise
        failures.update(error.failures)
        measured = read_measurements(measurements_path)
    _, left = later_ops(ops, first, more, measured)
    minutes_left = minutes - (clock_s() - start_s) / 60
    if left and minutes_left > 0:
        first_ops = {network.ops for network in first}
        candidates = [op for op in ops if (op,) not in first_ops]
        second = [single_op_network(op) for op in least_sure_ops(candidates, measured, left)]
        try:
            measured = run_campaign(
                session, second, measurements_path, minutes=minutes_left, on_progress=on_progress, clock_s=clock_s
            )
        except ModelsFailed as error:
            failures.update(error.failures)
    if failures:
        raise ModelsFailed(failures)
    return measured
