"""Latency recipes on this CPU: the small space, whose blocks and kernels were timed alone beside whole networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.baseline_claims import (
    BY_CORRECTED_FORESTS,
    BY_FORESTS,
    BY_MACS,
    BY_SUM,
    OURS,
    WholeNetworks,
    comparison_claims,
    corrected_sums_ms,
    judged_run,
    macs_affine_ms,
)
from benchmarks.baseline_forest import KernelForests
from benchmarks.claims import Claim, not_measured
from benchmarks.local_devices import QUICK_PLAN
from benchmarks.local_profile import LocalProfile, profile_small_space, small_space
from latency_model.drift import correct_drift
from latency_model.evaluate import error_figures
from latency_model.fit import fit_predictor
from latency_model.grain import kernels_run_by
from latency_model.measurement import OVERHEAD_PROBE, Measurement, MeasurementSet, paid_ops
from latency_model.ops import OpSpec
from latency_model.predictors import TablePredictor
from profiler_agent.errors import ProxylessError


def local_claims(runtime: str, *, quick: bool) -> Iterator[Claim]:
    """One campaign, judged twice: networks as sums of kernels and, unless ``quick``, as sums of blocks."""
    setting = f"this CPU, {runtime}"
    blocks = small_space().unique_ops()
    calibration_count, held_out_count = (12, 15) if quick else (40, 50)
    try:
        kernels = tuple(dict.fromkeys(kernels_run_by(runtime, blocks)))
        ops = kernels if quick else tuple(dict.fromkeys((*blocks, *kernels)))
        plan = QUICK_PLAN if quick else None
        profile = profile_small_space(runtime, ops, calibration_count, held_out_count, plan)
        yield from _grain_claims(f"{setting}, kernels", profile, kernels)
        if not quick:
            yield from _grain_claims(f"{setting}, blocks", profile, blocks)
    except ProxylessError as error:  # no runtime, no device, or an op that was throttled each time
        yield not_measured(f"{setting}: MAPE of ours over {BY_FORESTS}", "<= 1", str(error).splitlines()[0])


def _grain_claims(setting: str, profile: LocalProfile, ops: tuple[OpSpec, ...]) -> Iterator[Claim]:
    """Networks as sums of ``ops``, of which each was timed alone."""
    timed = _with_single_ops(profile.measured, ops)
    card = fit_predictor(timed, held_out=profile.held_out).report_card
    timed, _ = correct_drift(timed)  # what ours is fitted on; the others get the same
    runtime = timed.identity.runtime
    held_out = {paid_ops(network) for network in profile.held_out}
    networks = timed.network_measurements()
    judged = _as_ops([m for m in networks if m.paid_ops in held_out], ops, runtime)
    calibration = _as_ops([m for m in networks if m.paid_ops not in held_out], ops, runtime)
    assert np.allclose(card["network_points"]["measured_ms"], judged.latency_ms)
    timings = timed.op_timings()
    forests = KernelForests.fit(timings, "cpu")
    predicted_ms = {
        OURS: np.array(card["network_points"]["predicted_ms"]),
        BY_MACS: macs_affine_ms(calibration, judged),
        BY_SUM: judged.sums_ms(lambda each: TablePredictor.fit(timings).predict_ms(each).mean_ms),
        BY_FORESTS: judged.sums_ms(forests.predict_ms),
        BY_CORRECTED_FORESTS: corrected_sums_ms(forests.predict_ms, calibration, judged),
    }
    as_timed = {m.paid_ops[0]: m.latency_ms for m in timed.op_measurements()}
    raw = error_figures(judged.latency_ms, judged.sums_ms(lambda each: np.array([as_timed[op] for op in each])))
    note = (
        f"{len(judged)} held-out networks, {len(calibration)} to calibrate on, {len(timings)} ops, all of one "
        f"campaign; sums without the session's cost in each op, as timed the plain sum has MAPE {raw.mape:.1%}"
    )
    yield from comparison_claims(setting, [judged_run(runtime, judged, predicted_ms)], note)


def _with_single_ops(measured: MeasurementSet, ops: tuple[OpSpec, ...]) -> MeasurementSet:
    """Whole networks, the overhead probe and, of what was timed alone, ``ops``."""
    singles = {(op,) for op in ops} | {OVERHEAD_PROBE.ops}
    return MeasurementSet(tuple(m for m in measured.measurements if len(m.paid_ops) > 1 or m.paid_ops in singles))


def _as_ops(networks: list[Measurement], ops: tuple[OpSpec, ...], runtime: str) -> WholeNetworks:
    """Each network in terms of ``ops``: its own blocks, or the kernels that those run as."""
    known = set(ops)
    described = tuple(
        tuple(part for op in m.paid_ops for part in ([op] if op in known else kernels_run_by(runtime, [op])))
        for m in networks
    )
    return WholeNetworks(described, np.array([m.latency_ms for m in networks]))
