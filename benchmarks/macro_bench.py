"""NAS-Bench-Macro as a judge: published accuracies of all 6,561 networks, their latencies, and the CIFAR-10 images."""

from __future__ import annotations

import io
import itertools
import json
import math
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmarks.search_setting import analytic_target
from latency_model.campaign import run_campaign
from latency_model.drift import pace_since
from latency_model.fit import fit_predictor
from latency_model.measurement import Measurement, MeasurementSet, paid_ops
from latency_model.network import NetworkSpec, single_op_network, with_dtype
from latency_model.network_latency import NetworkLatency, load_network_latency
from latency_model.ops import Dtype, OpSpec
from profiler_agent.device import Device, load_device
from profiler_agent.session import open_session
from search.architecture_step import LatencyTarget
from search.batches import SplitData, split_data
from search.data.image_data import ImageData
from search.networks import spread_choices
from search.space import Choices, SearchSpace
from search.spaces.nas_bench_macro import choices_for_key, nas_bench_macro_space
from search.steps.search import latency_target

FloatArray = npt.NDArray[np.float64]
DEVICE_FILE = Path(__file__).resolve().parents[1] / "device_configs" / "local_cpu_onnxruntime.yaml"
CALIBRATION_NETWORKS = 30
HELD_OUT_FRACTION = 0.1
NEAR = 0.05
_CALIBRATION = "calibration"


@dataclass(frozen=True)
class MacroBench:
    """All networks of the space: (networks, 3) published accuracies of three trainings in per cent; (networks,)
    parameters, and latency in ms."""

    choices: tuple[Choices, ...]
    trainings: FloatArray
    parameter_count: FloatArray
    latency_ms: FloatArray
    target: LatencyTarget

    @cached_property
    def accuracy(self) -> FloatArray:
        """(networks,) mean of the trainings."""
        return np.asarray(self.trainings.mean(axis=1))

    @cached_property
    def accuracy_error(self) -> FloatArray:
        """(networks,) standard error of that mean, as far as the trainings of one network tell themselves."""
        return np.asarray(self.trainings.std(axis=1, ddof=1) / math.sqrt(self.trainings.shape[1]))

    def budget_ms(self, percentile: float) -> float:
        return float(np.percentile(self.latency_ms, percentile))

    def row(self, choices: Choices) -> int:
        return self.choices.index(choices)

    def within(self, budget_ms: float) -> FloatArray:
        """Rows of all networks that fit."""
        return np.flatnonzero(self.latency_ms <= budget_ms)

    def near(self, budget_ms: float) -> FloatArray:
        """Rows of the networks within 5 % under the budget."""
        return np.flatnonzero((self.latency_ms <= budget_ms) & (self.latency_ms >= (1 - NEAR) * budget_ms))


def read_macro_bench(data_folder: Path, target: LatencyTarget) -> MacroBench:
    """The published networks beside what each costs on a device."""
    path = data_folder / "nas_bench_macro" / "nas-bench-macro_cifar10.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    all_choices = tuple(itertools.product(range(3), repeat=8))
    records = {choices_for_key(key): record for key, record in published.items()}
    return MacroBench(
        choices=all_choices,
        trainings=np.array([records[one]["test_acc"] for one in all_choices]),
        parameter_count=np.array([float(records[one]["params"]) for one in all_choices]),
        latency_ms=np.array([target.network_ms(one) for one in all_choices]),
        target=target,
    )


def analytic_device() -> LatencyTarget:
    return analytic_target(nas_bench_macro_space(), 1.0)


@dataclass(frozen=True, kw_only=True)
class MeasuredDevice:
    """A device at hand, the numbers that networks are given to it in, and the folder that keeps what was measured."""

    folder: Path
    device: Device = field(default_factory=lambda: load_device(DEVICE_FILE))
    dtype: Dtype = "fp32"

    @property
    def label(self) -> str:
        return self.device.name if self.dtype == "fp32" else f"{self.device.name} {self.dtype}"

    def network(self, choices: Choices) -> NetworkSpec:
        return with_dtype(nas_bench_macro_space().network(choices, "".join(map(str, choices))), self.dtype)


def measured_device(measured: MeasuredDevice) -> LatencyTarget:
    """A predictor of a device, fitted once on all ops of the space and 30 whole networks."""
    space = nas_bench_macro_space()
    predictor = _predictor(space, measured)
    return latency_target(_in_dtype(space, measured.dtype), predictor, 1.0, measured.label)


def _in_dtype(space: SearchSpace, dtype: Dtype) -> SearchSpace:
    """The same layers in other numbers."""

    def layers(fixed: Sequence[tuple[str, OpSpec]]) -> tuple[tuple[str, OpSpec], ...]:
        return tuple((name, replace(op, dtype=dtype)) for name, op in fixed)

    positions = tuple(
        replace(position, candidates=tuple(replace(c, op=replace(c.op, dtype=dtype)) for c in position.candidates))
        for position in space.positions
    )
    return replace(space, stem=layers(space.stem), positions=positions, head=layers(space.head))


def _predictor(space: SearchSpace, measured: MeasuredDevice) -> NetworkLatency:
    saved = measured.folder / "predictor"
    if saved.is_dir():
        return load_network_latency(saved)
    rng = random.Random(0)
    networks = [single_op_network(op) for op in _in_dtype(space, measured.dtype).unique_ops()]
    networks += [
        replace(measured.network(spread_choices(space, rng)), name=f"{_CALIBRATION}{i}")
        for i in range(CALIBRATION_NETWORKS)
    ]
    with open_session(measured.device) as session:
        measurements = run_campaign(session, networks, measured.folder / "measurements.jsonl")
    predictor = fit_predictor(measurements)
    predictor.save(measured.folder / "predictor.part")
    (measured.folder / "predictor.part").rename(saved)
    return predictor


def measure_networks(measured: MeasuredDevice, wanted: Sequence[Choices]) -> dict[Choices, float]:
    """Measured milliseconds of whole networks at the pace of the device's profile, by the canary beside each, or as
    they were timed where none was; what was timed before is not timed again."""
    networks = {one: measured.network(one) for one in dict.fromkeys(wanted)}
    file = measured.folder / "measurements.jsonl"
    with open_session(measured.device) as session:
        measurements = run_campaign(session, list(networks.values()), file).measurements
    profiled = MeasurementSet(tuple(m for m in measurements if _is_of_profile(m)))
    latency = {m.paid_ops: m.latency_ms / (pace_since(profiled, m) or 1.0) for m in measurements if m.is_usable}
    return {one: latency[paid_ops(network)] for one, network in networks.items() if paid_ops(network) in latency}


def _is_of_profile(measurement: Measurement) -> bool:
    return len(measurement.paid_ops) == 1 or measurement.network.name.startswith(_CALIBRATION)


def cifar10(data_folder: Path, cache_folder: Path, image_count: int, seed: int) -> SplitData:
    """The first ``image_count`` training images, as many of each class, split for a search. Test images are not used:
    accuracies are the published ones."""
    cache = cache_folder / "cifar10_train.npz"
    if not cache.exists():
        _decode(data_folder / "cifar10" / "cifar10_images.tar.gz", cache)
    with np.load(cache) as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        names = tuple(str(name) for name in arrays["names"])
    chosen = torch.cat([torch.nonzero(labels == c)[: image_count // len(names), 0] for c in range(len(names))])
    data = ImageData(
        name="cifar10",
        train_images=images[chosen],
        train_labels=labels[chosen],
        test_images=images[:10],
        test_labels=labels[:10],
        class_names=names,
        hash=f"cifar10-{len(chosen)}",
    )
    return split_data(data, held_out_fraction=HELD_OUT_FRACTION, seed=seed)


def _decode(archive: Path, cache: Path) -> None:
    """Read the JPEG files out of the archive, in the order of their names."""
    images, class_names = {}, {}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if member.isfile() and parts[0] == "train":
                file = tar.extractfile(member)
                assert file is not None
                images[member.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                class_names[member.name] = parts[1]
    order = sorted(images)
    names = sorted(set(class_names.values()))
    cache.parent.mkdir(parents=True, exist_ok=True)
    beside = cache.with_suffix(".part.npz")
    np.savez(
        beside,
        images=np.stack([images[name] for name in order]).transpose(0, 3, 1, 2),
        labels=np.array([names.index(class_names[name]) for name in order]),
        names=np.array(names),
    )
    beside.rename(cache)
