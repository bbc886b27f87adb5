"""Step 7, verify: time the exported files on the device, beside what was predicted and what was allowed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from latency_model.campaign import identity_of, run_campaign
from latency_model.drift import pace_since
from latency_model.errors import UnknownOpError
from latency_model.measurement import Measurement, measurement_of, paid_ops
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.model_files import write_references
from latency_model.network import NetworkSpec, single_op_network
from profiler_agent.bundle import file_sha256
from profiler_agent.errors import DeviceThrottled
from profiler_agent.session import ModelFile, Session
from profiler_agent.stability import StabilityReport, Verdict, judge_timing
from profiler_agent.timing import Timing
from search.errors import BudgetMissed, RunFolderError
from search.files import NUMBER, read_record, write_json
from search.networks import layer_labels
from search.progress import Update, progress
from search.run import NETWORK_NAMES, Run, read_target
from search.steps.export import is_exported
from search.steps.profile import profile_if_any
from search.steps.timing import ATTEMPTS, PACE_ATTEMPTS, PACE_TOLERANCE, pace_distance, throttled_each_time

MODEL_SUFFIX = {"onnxruntime": ".onnx", "litert": ".tflite", "torch": ".pt"}
TOLERANCE = 0.03
BEYOND_NOISE = 0.1
"""What an accepted timing takes over the budget by more than this (and than its sessions differ) is the network's."""


def verify(run: Run, console: Console, names: Sequence[str] = NETWORK_NAMES) -> None:
    """Time the exported files in one go and keep the result; the measurements join the run's set. Layers of the
    derived network that were never timed alone are timed too. A file that was timed already is left alone.

    Raises:
        RunFolderError: a file is not exported yet, or the network was trained anew or the file changed since.
        DeviceNotReady: the device is absent or busy.
        DeviceThrottled: a file could be timed only while the device was throttled; all others are timed and kept.
    """
    left = [file for file in (exported_file(run, name) for name in names) if not is_verified(run, file)]
    if not left:
        return
    with (
        run.timed("verify"),
        run.open_device("verify") as session,
        progress(console, "verify") as update,
    ):
        if any(file.model_id == "derived" for file in left):
            layers = [single_op_network(op) for op in dict.fromkeys(paid_ops(run.read_network("derived")))]
            run_campaign(session, layers, run.measurements)
        _time_at_pace(run, session, left, update, console)


def _time_at_pace(run: Run, session: Session, files: Sequence[ModelFile], update: Update, console: Console) -> None:
    """Time all files, and again while the device is not at its profile's pace; of each, keep what was timed nearest to
    it. The pace alone decides, never a latency.

    Raises:
        DeviceThrottled: as ``usable_timings``, of the first time alone.
    """
    profiled = profile_if_any(run)
    kept_distance = math.inf
    for attempt in range(PACE_ATTEMPTS):
        measured: dict[str, Measurement] = {}
        try:
            for timing in usable_timings(session, files, update):
                measurement = measurement_of(
                    run.read_network(timing.model_id), identity_of(session), run.device.plan, timing
                )
                append_measurement(run.measurements, measurement)
                measured[timing.model_id] = measurement
                if attempt == 0:  # at once: what was timed is not lost when another file fails
                    _keep(run, files, {timing.model_id: measurement})
        except DeviceThrottled:
            if attempt == 0:
                raise
            return
        distance = pace_distance(profiled, list(measured.values()))
        if attempt > 0 and distance < kept_distance:
            _keep(run, files, measured)
        kept_distance = min(kept_distance, distance)
        if kept_distance <= PACE_TOLERANCE:
            return
        if attempt < PACE_ATTEMPTS - 1:
            console.print(f"the device's pace is {distance:.1%} off that of its profile; timing again", highlight=False)


def _keep(run: Run, files: Sequence[ModelFile], measured: Mapping[str, Measurement]) -> None:
    for file in files:
        if file.model_id in measured:
            record = _record(run, run.read_network(file.model_id), measured[file.model_id])
            write_json(run.folder.verification(file.model_id), record | {"file_sha256": file_sha256(file.path)})


def exported_file(run: Run, name: str) -> ModelFile:
    """The file that the run's runtime executes.

    Raises:
        RunFolderError: it is not exported yet, or the network was trained anew or the file changed since.
    """
    if not is_exported(run, name):
        raise RunFolderError(
            f"{name} is not exported as it is trained now, or an exported file of it was lost or changed since, or was "
            f"written by an earlier version that kept less of it; run proxyless export {run.folder.path} first."
        )
    return ModelFile(model_id=name, path=run.folder.exported(name, MODEL_SUFFIX[run.device.runtime.name]))


def is_verified(run: Run, file: ModelFile) -> bool:
    """Whether this very file was timed, and while the device was not throttled."""
    return _was_timed(run, file) and read_verification(run, file.model_id)["verdict"] != "throttled"


def is_outdated(run: Run, name: str) -> bool:
    """Whether a network was timed, and is not now what it was then: trained anew since, or a file changed or lost."""
    if not run.folder.verification(name).exists():
        return False
    return not is_exported(run, name) or not _was_timed(run, exported_file(run, name))


def _was_timed(run: Run, file: ModelFile) -> bool:
    """Whether the last timing of this network is of this very file."""
    if not run.folder.verification(file.model_id).exists():
        return False
    return read_verification(run, file.model_id).get("file_sha256") == file_sha256(file.path)


def read_verification(run: Run, name: str) -> dict[str, Any]:
    """What the device said of a network.

    Raises:
        RunFolderError: nothing yet, or the file was damaged.
    """
    numbers = dict.fromkeys(("target_ms", "measured_ms", "spread"), NUMBER)
    predicted = {"predicted_ms": (*NUMBER, type(None)), "predicted_interval_ms": (list, type(None))}
    return read_record(run.folder.verification(name), {**numbers, **predicted, "verdict": str})


def usable_timings(session: Session, files: Sequence[ModelFile], update: Update | None = None) -> Iterator[Timing]:
    """Each file's timing, interleaved with the canary; what the device was throttled for is timed again.

    Raises:
        DeviceThrottled: after all others were yielded, when it was throttled each time.
    """
    left = list(files)
    with tempfile.TemporaryDirectory(prefix="proxyless-") as folder:
        canary, company = write_references(session.device.runtime.name, Path(folder))
        for _ in range(ATTEMPTS):
            throttled: dict[str, StabilityReport] = {}
            for timing in session.time_models(left, canary=canary, company=company, on_progress=update):
                report = judge_timing(timing, session.device.plan)
                if report.verdict == "throttled":
                    throttled[timing.model_id] = report
                else:
                    yield timing
            left = [file for file in left if file.model_id in throttled]
            if not left:
                return
    raise throttled_each_time(len(left), len(files), session.device, throttled[left[-1].model_id])


def require_budget(run: Run, name: str = "derived") -> None:
    """Raise when the verified network takes more than 3 % above the budget.

    Raises:
        BudgetMissed: it does.
    """
    record = read_verification(run, name)
    if record["measured_ms"] > (1 + TOLERANCE) * record["target_ms"]:
        lower = (
            f"with a lower target in a new run folder; with --measurements {run.measurements} nothing is timed again."
        )
        again = f"(remove {run.folder.verification(name)}), or search {lower}"
        mend = f"Search {lower}"
        pace = record.get("pace") or 1.0
        if pace > 1 + PACE_TOLERANCE and record["measured_ms"] <= pace * (1 + BEYOND_NOISE) * record["target_ms"]:
            mend = (
                f"The device ran {pace - 1:.0%} slower than at its profile: verify when it is as quick as then {again}"
            )
        elif may_be_noise(record["measured_ms"], record["target_ms"], record["spread"], record["verdict"]):
            mend = f"Verify again when the device is quiet {again}"
        raise BudgetMissed(
            f"{name} takes {record['measured_ms']:.4g} ms on {run.device.name}; the budget is "
            f"{record['target_ms']:.4g} ms. {mend}"
        )


def may_be_noise(measured_ms: float, target_ms: float, spread: float, verdict: Verdict) -> bool:
    """Whether a network that missed its budget may meet it when it is timed again."""
    return verdict != "accepted" or measured_ms <= (1 + max(BEYOND_NOISE, TOLERANCE + spread)) * target_ms


def _record(run: Run, network: NetworkSpec, measurement: Measurement) -> dict[str, Any]:
    target = read_target(run.folder)
    estimate = _estimate(run, network)
    return {
        "schema": 1,
        "name": network.name,
        "target_ms": target["target_ms"],
        **estimate,
        "measured_ms": measurement.latency_ms,
        "measured_median_ms": measurement.median_ms,
        "spread": measurement.spread,
        "verdict": measurement.verdict,
        "pace": _pace(run, measurement),
        "layers": _layers(run, network, known=estimate["predicted_ms"] is not None),
    }


def _estimate(run: Run, network: NetworkSpec) -> dict[str, Any]:
    """The prediction; null for a network with widths that the predictor's table does not hold."""
    try:
        estimate = run.predictor.predict_network(network.ops)
    except UnknownOpError:
        return {"predicted_ms": None, "predicted_interval_ms": None}
    return {"predicted_ms": estimate.latency_ms, "predicted_interval_ms": [estimate.low_ms, estimate.high_ms]}


def _pace(run: Run, measurement: Measurement) -> float | None:
    """How slow the device was now over how slow it was at the profile that the prediction stands on; None for a
    predictor that was fitted elsewhere."""
    profiled = profile_if_any(run)
    return None if profiled is None else pace_since(profiled, measurement)


def _layers(run: Run, network: NetworkSpec, *, known: bool) -> list[dict[str, Any]]:
    """Each layer: what it adds to the network by the predictor, and what it took when timed alone."""
    alone = {
        measurement.paid_ops[0]: measurement.latency_ms
        for measurement in read_measurements(run.measurements).measurements
        if len(measurement.paid_ops) == 1
    }
    predicted = run.predictor.op_contribution_ms(network.ops) if known else [None] * len(network.ops)
    rows = []
    for (name, op), label, contribution in zip(network.layers, layer_labels(network), predicted, strict=True):
        rows.append(
            {
                "name": name,
                "label": label,
                "predicted_ms": None if contribution is None else float(contribution),
                "measured_ms": alone.get(op),
            }
        )
    return rows
