"""What is shipped: a whole run, then error, accuracy and latency of every exported file of its derived network.

The run is the push button's, on scikit-learn's digits with ``--quick`` and on Fashion-MNIST without. Latencies are
measured through the agent with each runtime's own device file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.claims import Claim, Options, at_most, not_measured, run_benchmark
from profiler_agent.device import load_device
from profiler_agent.errors import ProxylessError
from search.errors import BudgetMissed
from search.files import read_json
from search.pipeline import run_all
from search.run import Run, start_run
from search.run_settings import RunSettings, parse_target
from search.ship.verify_file import verify_file

ROOT = Path(__file__).resolve().parents[1]
DEVICES = {"onnx": "local_cpu_onnxruntime", "tflite": "local_cpu_litert"}
ERROR_AIMS = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.25}
INT8_LOSS_POINTS = 1.0
PREDICTION_GAP, BUDGET_GAP = 0.05, 0.03


def measure(options: Options) -> Iterator[Claim]:
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
        yield from latency_claims(run, exports)


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
    yield at_most(
        "derived network, measured against predicted",
        abs(measured_ms / predicted_ms - 1),
        PREDICTION_GAP,
        unit="ratio",
        note=f"measured {measured_ms:.4g} ms, predicted {predicted_ms:.4g} ms",
    )
    yield at_most(
        "derived network, measured over budget",
        measured_ms / summary["target_ms"] - 1,
        BUDGET_GAP,
        unit="ratio",
        note=f"budget {summary['target_ms']:.4g} ms",
    )


def latency_claims(run: Run, exports: dict[str, Any]) -> Iterator[Claim]:
    """What each file takes in its runtime; smaller numbers are to be no slower than single precision."""
    for key, device_name in DEVICES.items():
        device = load_device(ROOT / "device_configs" / f"{device_name}.yaml")
        claim = f"{key}-int8 over {key} in fp32, measured latency on {device_name}"
        try:
            fp32, int8 = (verify_file(run.folder.path / exports[name]["path"], device) for name in (key, f"{key}-int8"))
        except ProxylessError as error:
            yield not_measured(claim, "<= 1", str(error))
            continue
        yield at_most(
            claim,
            int8.report.latency_ms / fp32.report.latency_ms,
            1.0,
            unit="ratio",
            note=f"fp32 {fp32.report.latency_ms:.4g} ms ({fp32.report.verdict}), "
            f"int8 {int8.report.latency_ms:.4g} ms ({int8.report.verdict})",
        )


if __name__ == "__main__":
    run_benchmark("ship", measure)
