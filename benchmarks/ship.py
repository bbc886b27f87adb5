"""What is shipped: a whole run, then error, accuracy and latency of every exported file of its derived network.

The run is the push button's, on scikit-learn's digits with ``--quick`` and on Fashion-MNIST without, with one torch
thread: two that spin wait for each other beside any other program. Latencies are measured through the agent with each
runtime's own device file. The run fits a predictor of its own device in fp32; for the other runtime and the smaller
numbers one is fitted here in the same way, where timing what it needs takes two minutes at most; ``--quick`` leaves out
those of smaller numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.claims import Claim, Options, at_most, not_measured, run_benchmark
from latency_model.campaign_targets import CampaignTargets, fits_into, run_targets
from latency_model.fit import fit_predictor
from latency_model.measurement import MeasurementSet
from latency_model.network import NetworkSpec, with_dtype
from latency_model.ops import Dtype
from profiler_agent.device import Device, load_device
from profiler_agent.errors import ProxylessError
from profiler_agent.session import open_session
from search.errors import BudgetMissed
from search.files import read_json
from search.pipeline import run_all
from search.run import Run, start_run
from search.run_settings import RunSettings, parse_target
from search.ship.verify_file import KnownNetwork, VerifiedFile, known_network, verify_file
from search.steps.profile import plan_of

ROOT = Path(__file__).resolve().parents[1]
DEVICES = {"onnx": "local_cpu_onnxruntime", "tflite": "local_cpu_litert"}
ERROR_AIMS = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.25}
INT8_LOSS_POINTS = 1.0
PREDICTION_GAP, BUDGET_GAP = 0.05, 0.03
PROFILE_MINUTES = 2.0
"""What timing for one more predictor may take."""
OWN_PREDICTOR = "onnx"
"""The file that the run itself predicts."""


def measure(options: Options) -> Iterator[Claim]:
    torch.set_num_threads(1)
    data, preset = ("digits", "smoke") if options.quick else ("fashion-mnist", "demo")
    with tempfile.TemporaryDirectory(prefix="proxyless-") as folder:
        run = start_run(
            Path(folder) / "run",
            RunSettings(
                device=str(ROOT / "device_configs" / f"{DEVICES['onnx']}.yaml"),
                data=data if options.data is None else str(options.data),
                target=parse_target("0.6xmobilenetv2", None),
                preset=preset,
            ),
        )
        try:
            run_all(run, Console(stderr=True))
        except BudgetMissed as error:
            print(error)
        exports = read_json(run.folder.exports)["derived"]
        yield from export_claims(exports)
        yield from run_claims(read_json(run.folder.summary))
        yield from latency_claims(run, exports, quick=options.quick)


def export_claims(exports: dict[str, Any]) -> Iterator[Claim]:
    """Error against torch, and accuracy lost, of each file."""
    for key, check in exports.items():
        accuracy = f"accuracy of the file {100 * check['accuracy']:.1f} % of {check['accuracy_images']} test images"
        yield at_most(
            f"{key} against torch on held-out images",
            check["max_relative_error"],
            ERROR_AIMS[check["dtype"]],
            unit="of the largest logit",
            note=accuracy,
        )
    for key, check in exports.items():
        if check["dtype"] == "int8":
            yield at_most(f"{key}, accuracy lost", 100 * check["accuracy_loss"], INT8_LOSS_POINTS, unit="points")


def run_claims(summary: dict[str, Any]) -> Iterator[Claim]:
    """The derived network, re-measured from its exported file, against prediction and budget."""
    measured_ms, predicted_ms = summary["measured_ms"], summary["predicted_ms"]
    yield gap_claim(f"{OWN_PREDICTOR} of the derived network", measured_ms, predicted_ms)
    yield at_most(
        "derived network, measured over budget",
        measured_ms / summary["target_ms"] - 1,
        BUDGET_GAP,
        unit="ratio",
        note=f"budget {summary['target_ms']:.4g} ms",
    )


def gap_claim(what: str, measured_ms: float, predicted_ms: float) -> Claim:
    return at_most(
        gap_text(what),
        abs(measured_ms / predicted_ms - 1),
        PREDICTION_GAP,
        unit="ratio",
        note=f"measured {measured_ms:.4g} ms, predicted {predicted_ms:.4g} ms",
    )


def gap_text(what: str) -> str:
    return f"{what}, measured against predicted"


def latency_claims(run: Run, exports: dict[str, Any], *, quick: bool) -> Iterator[Claim]:
    """What each file takes in its runtime, beside its prediction; smaller numbers are to be no slower than single
    precision."""
    too_long = f"a profile for its predictor would take longer than {PROFILE_MINUTES:g} minutes"
    for key, device_name in DEVICES.items():
        device = load_device(ROOT / "device_configs" / f"{device_name}.yaml")
        timed: dict[str, VerifiedFile] = {}
        for name in (key, f"{key}-int8"):
            path, dtype = run.folder.path / exports[name]["path"], exports[name]["dtype"]
            try:
                is_left_out = name == OWN_PREDICTOR or (quick and dtype != "fp32")
                predictor = None if is_left_out else fitted_predictor(run, device, dtype)
                known = KnownNetwork(network=known_network(path, None), predictor=predictor)
                timed[name] = verify_file(path, device, known=known)
            except ProxylessError as error:
                yield not_measured(f"{name} of the derived network, measured latency", "any", str(error))
                continue
            if name != OWN_PREDICTOR:
                yield prediction_claim(name, timed[name], "left out by --quick" if is_left_out else too_long)
        if len(timed) > 1:
            yield int8_claim(key, device_name, timed[key], timed[f"{key}-int8"])


def prediction_claim(name: str, verified: VerifiedFile, why_not: str) -> Claim:
    what = f"{name} of the derived network"
    if verified.predicted is None:
        return not_measured(gap_text(what), f"<= {PREDICTION_GAP:g}", why_not)
    return gap_claim(what, verified.report.latency_ms, verified.predicted.latency_ms)


def int8_claim(key: str, device_name: str, fp32: VerifiedFile, int8: VerifiedFile) -> Claim:
    return at_most(
        f"{key}-int8 over {key} in fp32, measured latency on {device_name}",
        int8.report.latency_ms / fp32.report.latency_ms,
        1.0,
        unit="ratio",
        note=f"fp32 {fp32.report.latency_ms:.4g} ms ({fp32.report.verdict}), "
        f"int8 {int8.report.latency_ms:.4g} ms ({int8.report.verdict})",
    )


def fitted_predictor(run: Run, device: Device, dtype: Dtype) -> Path | None:
    """A predictor of a device in these numbers, from what a run profiles; None where that takes too long."""
    plan = plan_of(run)
    targets = CampaignTargets(
        ops=tuple(replace(op, dtype=dtype) for op in plan.targets.ops), networks=in_dtype(plan.targets.networks, dtype)
    )
    if not fits_into(targets, device, PROFILE_MINUTES):
        return None
    folder = run.folder.path / f"{device.name}-{dtype}"
    with open_session(device) as session:
        measured = run_targets(session, targets, folder / "measurements.jsonl", minutes=None)
    usable = MeasurementSet(tuple(one for one in measured.measurements if one.is_usable))
    fit_predictor(usable, held_out=in_dtype(plan.held_out, dtype)).save(folder / "predictor")
    return folder / "predictor"


def in_dtype(networks: tuple[NetworkSpec, ...], dtype: Dtype) -> tuple[NetworkSpec, ...]:
    return tuple(with_dtype(network, dtype) for network in networks)


if __name__ == "__main__":
    run_benchmark("ship", measure)
