"""A run folder as a finished run leaves it. All numbers in it are made up, for these tests only."""

import json
import math
import random
from pathlib import Path

import pytest

from latency_model.kernels import macs, parameter_count
from latency_model.network import network_to_json
from latency_model.op_json import op_to_json
from search.spaces.small import small_space

TARGET_MS = 0.12
STEPS = range(0, 1200, 10)
WARMUP_STEPS = 300
ACCURACY = {"derived": 0.9134, "random": 0.9017, "handmade": 0.9052}
MEASURED_MS = {"derived": 0.1183, "random": 0.1195, "handmade": 0.1191}


class RunFolder:
    """Writes the parts of a run, one step of the run after the other."""

    def __init__(
        self, folder: Path, *, seed: int = 0, device: str = "local-cpu-onnxruntime", shift: float = 0.0
    ) -> None:
        self.folder, self.device = folder, device
        self.accuracy = {name: value + shift for name, value in ACCURACY.items()}
        self.measured_ms = {name: value * (1 + shift) for name, value in MEASURED_MS.items()}
        self.rng = random.Random(seed)
        self.space = small_space((1, 28, 28), 10)
        self.choices = {name: self.space.sample(self.rng) for name in ("derived", "random", "handmade")}
        self.write("run.json", self.run_facts(seed))

    def write(self, name: str, data: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))

    def write_lines(self, name: str, records: list[dict]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def run_facts(self, seed: int) -> dict:
        return {
            "schema": 1,
            "space": {"name": self.space.name, "hash": self.space.hash},
            "device": {"name": self.device, "fingerprint": "3f9a1c07", "config": f"device_configs/{self.device}.yaml"},
            "runtime": {"name": "onnxruntime", "version": "1.27.0", "thread_count": 1},
            "data": {
                "name": "fashion-mnist",
                "train_count": 60000,
                "test_count": 10000,
                "class_names": ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "bag"],
                "image_shape": [1, 28, 28],
            },
            "target": {"text": "0.6xmobilenetv2", "target_ms": TARGET_MS, "reference_ms": 0.2},
            "seed": seed,
            "versions": {"python": "3.11.2", "torch": "2.13.0", "proxyless": "0.1.0"},
            "started": "2026-03-01T09:30:00+00:00",
        }

    def add_predictor(self) -> None:
        measured = [self.rng.uniform(0.06, 0.24) for _ in range(24)]
        predicted = [value * self.rng.gauss(1, 0.02) for value in measured]
        figures = {"count": 24, "mape": 0.0162, "within_5_percent": 0.958, "within_10_percent": 1.0}
        figures |= {"spearman": 0.994, "coverage": 0.917, "mean_half_width": 0.034}
        baseline = {"count": 24, "mape": 0.118, "within_5_percent": 0.29, "within_10_percent": 0.5}
        baseline |= {"spearman": 0.87, "coverage": None, "mean_half_width": None}
        points = {"measured_ms": measured, "predicted_ms": predicted}
        points |= {"low_ms": [p * 0.966 for p in predicted], "high_ms": [p * 1.034 for p in predicted]}
        card = {"schema": 1, "networks": figures, "networks_flops_baseline": baseline, "network_points": points}
        card |= {"method": "24 held-out networks, fitted on 40 others", "model": "table"}
        card["noise"] = "noise: the sessions of all 64 timings agree within 3% (0.6% in the median, 2.1% at most)"
        self.write("predictor/report_card.json", card | {"model_reason": "every op of the space was measured"})

    def add_search(self) -> None:
        positions = [
            {
                "name": position.name,
                "stage": position.stage,
                "candidates": [op_to_json(candidate.op) for candidate in position.candidates],
                "labels": [candidate.label for candidate in position.candidates],
            }
            for position in self.space.positions
        ]
        self.write("search/space.json", {"name": "small", "hash": self.space.hash, "positions": positions})
        self.write_lines("search/events.jsonl", [self.event(step) for step in STEPS])
        self.write_lines("search/probabilities.jsonl", [self.frame(s) for s in STEPS if s >= WARMUP_STEPS])

    def event(self, step: int) -> dict:
        rng, progress = self.rng, max(step - WARMUP_STEPS, 0) / (1200 - WARMUP_STEPS)
        event = {"step": step, "phase": "warmup" if step < WARMUP_STEPS else "search", "epoch": step / 150}
        event |= {"loss": 2.2 * math.exp(-step / 500) + 0.4 + rng.gauss(0, 0.08), "accuracy": 0.5, "target": None}
        event |= {"held_out_loss": None, "expected_ms": None, "derived_ms": None, "multiplier": None, "entropy": None}
        if step >= WARMUP_STEPS:
            event["target"] = "0.6xmobilenetv2"
            event["held_out_loss"] = 2.0 * math.exp(-step / 480) + 0.45 + rng.gauss(0, 0.06)
            event["expected_ms"] = 0.118 + 0.05 * math.exp(-4 * progress)
            event["derived_ms"] = round(0.119 + 0.06 * math.exp(-5 * progress) + rng.choice([0, 0.002]), 3)
            event["multiplier"] = 0.3 * (1 - math.exp(-3 * progress))
            event["entropy"] = 1 - 0.65 * progress
        return event | {"seconds": step * 0.07}

    def frame(self, step: int) -> dict:
        progress = (step - WARMUP_STEPS) / (1200 - WARMUP_STEPS)
        rows = []
        for index, position in enumerate(self.space.positions):
            rng = random.Random(index)
            logits = [rng.gauss(0, 1.2) * progress for _ in position.candidates]
            logits[self.choices["derived"][index]] += (1.5 + 2.5 * rng.random()) * progress
            weights = [math.exp(logit) for logit in logits]
            rows.append([round(weight / sum(weights), 5) for weight in weights])
        return {"step": step, "target": "0.6xmobilenetv2", "probabilities": rows}

    def add_derived(self) -> None:
        for name, choices in self.choices.items():
            self.write(f"networks/{name}.json", network_to_json(self.space.network(choices, name)))
        architecture = {"schema": 1, "space": "small", "space_hash": self.space.hash}
        choices = self.choices["derived"]
        architecture |= {"choices": list(choices), "labels": list(self.space.labels(choices))}
        self.write("architecture.json", architecture)

        self.write("search/derivation.json", self.derivation())

    def derivation(self) -> dict:
        judged = []
        for _ in range(60):
            latency_ms = self.rng.uniform(0.09, TARGET_MS)
            accuracy = 0.70 + 2.0 * (latency_ms - 0.09) + self.rng.gauss(0, 0.012)
            judged.append({"predicted_ms": latency_ms, "held_out_accuracy": accuracy, "held_out_loss": 1 - accuracy})
        derived = max(judged, key=lambda one: one["held_out_accuracy"])
        return {"schema": 1, "derived": derived, "judged": judged}

    def add_training(self) -> None:
        for name, accuracy in self.accuracy.items():
            ops = self.space.network(self.choices[name]).ops
            events = [
                {
                    "step": epoch * 300,
                    "epoch": epoch,
                    "loss": 0.5,
                    "train_accuracy": 0.8,
                    "held_out_accuracy": accuracy + 0.004 - 0.25 * math.exp(-epoch / 2),
                }
                for epoch in range(1, 13)
            ]
            self.write_lines(f"train/{name}/events.jsonl", events)
            result = {"schema": 1, "accuracy": accuracy, "held_out_accuracy": accuracy + 0.003, "passes": 12.0}
            result |= {"parameters": sum(map(parameter_count, ops)), "macs": sum(map(macs, ops)), "seconds": 151.2}
            result["identity"] = {"settings": "(12.0, 128, 0.1)", "start": "from scratch"}
            self.write(f"train/{name}/result.json", result)

    def start_from_supernet(self) -> None:
        """The derived network's training began with what the supernet had learned."""
        path = self.folder / "train" / "derived" / "result.json"
        result = json.loads(path.read_text())
        result["identity"]["start"] = "80 tensors, sum of magnitudes 34797.8274"
        path.write_text(json.dumps(result))

    def add_exports(self) -> None:
        files = {}
        for name, accuracy in self.accuracy.items():
            checked = {"dtype": "fp32", "accuracy": accuracy, "accuracy_loss": 0.0, "accuracy_images": 2000}
            files[name] = {
                "onnx": {"max_relative_error": 3.1e-6, "bytes": 861_204} | checked,
                "tflite": {"max_relative_error": 4.4e-6, "bytes": 858_112} | checked,
            }
        less = checked | {"dtype": "int8", "accuracy": self.accuracy["derived"] - 0.0072, "accuracy_loss": 0.0072}
        files["derived"]["onnx-int8"] = {"max_relative_error": 0.041, "bytes": 231_904} | less
        self.write("export/export.json", files)

    def add_verification(self) -> None:
        for name, measured_ms in self.measured_ms.items():
            layers = self.space.network(self.choices[name]).layers
            total = sum(macs(op) for _, op in layers)
            verification = {"name": name, "target_ms": TARGET_MS, "predicted_ms": 0.1169}
            verification |= {"predicted_interval_ms": [0.1131, 0.1207], "measured_ms": measured_ms}
            verification |= {"measured_median_ms": measured_ms * 1.02, "spread": 0.011, "verdict": "accepted"}
            verification["layers"] = [
                {
                    "name": layer,
                    "label": op.kind,
                    "predicted_ms": 0.11 * macs(op) / total,
                    "measured_ms": 0.11 * macs(op) / total * self.rng.gauss(1, 0.05),
                }
                for layer, op in layers
                if macs(op)
            ]
            self.write(f"verify/{name}.json", verification)

    def add_summary(self) -> None:
        self.write("summary.json", self.summary())

    def summary(self) -> dict:
        seconds = {"profile": 61.3, "fit": 4.2, "search": 143.9, "derive": 21.0, "train": 402.5, "export": 12.4}
        return {
            "target_ms": TARGET_MS,
            "predicted_ms": 0.1169,
            "predicted_interval_ms": [0.1131, 0.1207],
            "measured_ms": self.measured_ms["derived"],
            "accuracy": self.accuracy,
            "measured_ms_baselines": {name: self.measured_ms[name] for name in ("random", "handmade")},
            "predicted_ms_baselines": {"random": 0.1174, "handmade": None},
            "seconds": seconds | {"verify": 9.7},
            "device_seconds": {"profile": 58.4, "derive": 12.6, "verify": 8.0},
            "device": self.device,
            "runtime": "onnxruntime",
            "seed": 0,
            "versions": {"torch": "2.13.0"},
        }

    def finish(self) -> Path:
        for add in (
            self.add_predictor,
            self.add_search,
            self.add_derived,
            self.add_training,
            self.add_exports,
            self.add_verification,
            self.add_summary,
        ):
            add()
        return self.folder


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    """A run of which only run.json is there."""
    return RunFolder(tmp_path / "first")


@pytest.fixture
def make_run_folder(tmp_path: Path):
    def make(name: str, **options) -> RunFolder:
        return RunFolder(tmp_path / name, **options)

    return make
