"""Step 7, verify: time the exported files on the device, beside what was predicted and what was allowed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from latency_model.campaign import CANARY, identity_of, run_campaign, write_model
from latency_model.errors import UnknownOpError
from latency_model.measurement import (
    Measurement,
    append_measurement,
    measurement_of,
    paid_ops,
    read_measurements,
)
from latency_model.network import NetworkSpec, single_op_network
from profiler_agent.session import ModelFile, Session, open_session
from profiler_agent.timing import Timing
from search.errors import BudgetMissed, RunFolderError
from search.files import read_json, write_json
from search.networks import layer_labels
from search.progress import Update, progress
from search.run import NETWORK_NAMES, Run

MODEL_SUFFIX = {"onnxruntime": ".onnx", "litert": ".tflite", "torch": ".pt"}
TOLERANCE = 0.03


def verify(run: Run, console: Console, names: Sequence[str] = NETWORK_NAMES) -> None:
    """Time the exported files in one go and keep the result; the measurements join the run's set. Layers of the
    derived network that were never timed alone are timed too.

    Raises:
        RunFolderError: a file is not exported yet.
        DeviceNotReady: the device is absent or busy.
    """
    left = [name for name in names if not run.folder.verification(name).exists()]
    if not left:
        return
    files = [exported_file(run, name) for name in left]
    with (
        run.timed("verify"),
        open_session(run.device) as session,
        progress(console, "verify") as update,
    ):
        measured = time_files(session, files, update)
        if "derived" in left:
            layers = [single_op_network(op) for op in dict.fromkeys(paid_ops(run.read_network("derived")))]
            run_campaign(session, layers, run.measurements)
        for name in left:
            network = run.read_network(name)
            measurement = measurement_of(network, identity_of(session), run.device.plan, measured[name])
            append_measurement(run.measurements, measurement)
            write_json(run.folder.verification(name), _record(run, network, measurement))


def exported_file(run: Run, name: str) -> ModelFile:
    """The file that the run's runtime executes.

    Raises:
        RunFolderError: it is not exported yet.
    """
    path = run.folder.exported(name, MODEL_SUFFIX[run.device.runtime.name])
    if not path.exists():
        raise RunFolderError(f"{path} is not there; run proxyless export {run.folder.path} first.")
    return ModelFile(model_id=name, path=path)


def time_files(session: Session, files: Sequence[ModelFile], update: Update | None = None) -> dict[str, Timing]:
    """Each file's timing by its id, interleaved with the canary."""
    with tempfile.TemporaryDirectory(prefix="proxyless-") as folder:
        path = write_model(CANARY, session.device.runtime.name, Path(folder) / "canary")
        canary = ModelFile(model_id="canary", path=path)
        return {timing.model_id: timing for timing in session.time_models(files, canary=canary, on_progress=update)}


def require_budget(run: Run, name: str = "derived") -> None:
    """Raise when the verified network takes more than 3 % above the budget.

    Raises:
        BudgetMissed: it does.
    """
    record = read_json(run.folder.verification(name))
    if record["measured_ms"] > (1 + TOLERANCE) * record["target_ms"]:
        raise BudgetMissed(
            f"{name} takes {record['measured_ms']:.4g} ms on {run.device.name}; the budget is "
            f"{record['target_ms']:.4g} ms. Verify again when the device is cool and quiet (remove "
            f"{run.folder.verification(name)}), or search with a lower target."
        )


def _record(run: Run, network: NetworkSpec, measurement: Measurement) -> dict[str, Any]:
    target = read_json(run.folder.target)
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
        "layers": _layers(run, network, known=estimate["predicted_ms"] is not None),
    }


def _estimate(run: Run, network: NetworkSpec) -> dict[str, Any]:
    """The prediction; null for a network with widths that the predictor's table does not hold."""
    try:
        estimate = run.predictor.predict_network(network.ops)
    except UnknownOpError:
        return {"predicted_ms": None, "predicted_interval_ms": None}
    return {"predicted_ms": estimate.latency_ms, "predicted_interval_ms": [estimate.low_ms, estimate.high_ms]}


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
