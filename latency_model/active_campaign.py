"""A campaign that cannot measure everything in its time: first what stands for the rest, then what is least sure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latency_model.campaign import Progress, TimingSession, plan_campaign, run_campaign
from latency_model.errors import TooFewSamplesError
from latency_model.experiment_design import choose_networks, choose_ops
from latency_model.measurement import MeasurementSet
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from latency_model.predictors import XGBoostPredictor
from profiler_agent.device import TimingPlan
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
) -> tuple[list[NetworkSpec], int]:
    """What to measure before anything is known, and how many more ops the time then allows.

    All of it when it fits; else calibration networks and ops that stand for the others.
    """
    single = [single_op_network(op) for op in dict.fromkeys(ops)]
    count = affordable_count([*single, *networks], plan, minutes, job_s)
    if count >= len(single) + len(networks):
        return [*single, *networks], 0
    whole = list(choose_networks(networks, min(CALIBRATION_COUNT, count // 2))) if networks else []
    op_count = count - len(whole)
    blind = max(int(_BLIND_SHARE * op_count), 1)
    return [*(single_op_network(op) for op in choose_ops(ops, blind)), *whole], op_count - blind


def least_sure_ops(ops: Sequence[OpSpec], measured: MeasurementSet, count: int) -> list[OpSpec]:
    """The unmeasured ops with the widest intervals in milliseconds, by a regressor on what is measured.

    Raises:
        UnknownOpError: an op of a kind that was not measured at all.
    """
    timings = measured.op_timings()
    left = [op for op in dict.fromkeys(ops) if op not in set(timings.ops)]
    known_kinds = {op.kind for op in timings.ops}
    unknown = [op for op in left if op.kind not in known_kinds]  # nothing is less sure than these
    rest = [op for op in left if op.kind in known_kinds]
    if len(unknown) >= count or not rest:
        return unknown[:count]
    try:
        predicted = XGBoostPredictor.fit(timings).predict_ms(rest)
    except TooFewSamplesError:
        return [*unknown, *choose_ops(rest, count - len(unknown))]
    widest = np.argsort(predicted.low_ms - predicted.high_ms, kind="stable")
    return [*unknown, *(rest[int(row)] for row in widest[: count - len(unknown)])]


def run_active_campaign(
    session: TimingSession,
    ops: Sequence[OpSpec],
    networks: Sequence[NetworkSpec],
    measurements_path: Path,
    *,
    minutes: float,
    on_progress: Progress | None = None,
) -> MeasurementSet:
    """Measure ops and networks within ``minutes``: all of them when they fit, else the best choice.

    Args:
        ops: what will be asked of the predictor.
        networks: candidates to calibrate on.
    Raises:
        MixedMeasurementsError: the file holds measurements of another device.
        ModelsFailed: some networks could not be timed; all others are in the file.
    """
    plan = session.device.plan
    first, more = first_choice(ops, networks, plan, minutes, job_seconds(session.device))
    measured = run_campaign(session, first, measurements_path, minutes=minutes, on_progress=on_progress)
    if more == 0:
        return measured
    second = [single_op_network(op) for op in least_sure_ops(ops, measured, more)]
    share = 1.0 - len(first) / (len(first) + len(second))
    return run_campaign(session, second, measurements_path, minutes=share * minutes, on_progress=on_progress)
