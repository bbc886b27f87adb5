"""The specialisation matrix: every run's derived network, measured on every device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from latency_model.lowering.torchscript import write_torchscript
from latency_model.ops import Dtype
from profiler_agent.device import Device, load_device
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import StabilityReport, Verdict, judge_timing
from search.errors import RunFolderError
from search.export_formats import ALL_FORMATS, calibrated, write_format
from search.file_metadata import preprocessing
from search.plain_network import folded_weights
from search.progress import Update
from search.run import Run, open_run
from search.steps.export import is_exported
from search.steps.verify import MODEL_SUFFIX, usable_timings
from search.train_network import TrainFiles, load_trained, read_result

SCHEMA = 1
LEAST_RUNS = 2
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One device, and the numbers that networks are given to it in."""

    device: Device
    dtype: Dtype

    @property
    def label(self) -> str:
        return self.device.name if self.dtype == "fp32" else f"{self.device.name} {self.dtype}"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows are runs, by the name of their folder; columns are devices.

    ``own`` is the column that a run searched for. Latencies are milliseconds; accuracy is that of the test images.
    """

    runs: tuple[str, ...]
    columns: tuple[str, ...]
    own: tuple[str, ...]
    accuracy: tuple[float, ...]
    latency_ms: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float, ...], ...]
    verdict: tuple[tuple[Verdict, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **vars(self), "findings": self.findings()}

    def findings(self) -> list[str]:
        """For each device with a network of its own: whether that network is the fastest there, as far as the spread
        between sessions lets one tell."""
        return [self._finding(index) for index, column in enumerate(self.columns) if column in self.own]

    def _finding(self, index: int) -> str:
        rows = sorted(range(len(self.runs)), key=lambda row: self.latency_ms[row][index])
        own = next(row for row in rows if self.own[row] == self.columns[index])
        other = rows[0] if rows[0] != own else rows[1]
        gap = self.latency_ms[own][index] / self.latency_ms[other][index] - 1
        noise = max(self.spread[own][index], self.spread[other][index])
        head = f"{self.columns[index]}: its own network ({self.runs[own]}, {self.latency_ms[own][index]:.4g} ms)"
        against = f"{self.runs[other]} ({self.latency_ms[other][index]:.4g} ms)"
        points = 100 * (self.accuracy[own] - self.accuracy[other])
        accuracy = f"It has {points:+.1f} points of accuracy against that one."
        if abs(gap) <= noise:
            return f"{head} cannot be told from {against}: sessions differ by {noise:.1%}. {accuracy}"
        if gap > 0:
            return f"{head} is not the fastest: it takes {gap:.1%} longer than {against}. {accuracy}"
        smaller = " It is the fastest on every device, so it is smaller rather than made for this one."
        everywhere = smaller if self._wins_everywhere(own) else ""
        return f"{head} is the fastest: {against} takes {1 / (1 + gap) - 1:.1%} longer. {accuracy}{everywhere}"

    def _wins_everywhere(self, row: int) -> bool:
        return len(self.columns) > 1 and all(
            min(latencies) == latencies[row] for latencies in zip(*self.latency_ms, strict=True)
        )


def parse_column(text: str) -> Column:
    """``device_configs/NAME.yaml``, or ``device_configs/NAME.yaml@int8``.

    Raises:
        RunFolderError: unknown numbers after the @, or numbers that the runtime has no files of.
    """
    path, _, dtype = text.partition("@")
    return make_column(load_device(path), dtype or "fp32")


def make_column(device: Device, dtype: str) -> Column:
    """A column, when the device's runtime has such files."""
    for known in DTYPES:
        if known == dtype and (dtype == "fp32" or device.runtime.name != "torch"):
            return Column(device=device, dtype=known)
    raise RunFolderError(
        f"{device.name} cannot be compared in {dtype!r}; give fp32, or fp16 or int8 with onnxruntime or litert."
    )


def compare_on_devices(folders: Sequence[Path], columns: Sequence[Column], update: Update) -> Matrix:
    """Measure all derived networks on each device, interleaved within one session per device.

    Args:
        columns: devices beside those that the runs searched for, which are always there.
    Raises:
        RunFolderError: fewer than two runs, or one without a trained derived network.
        DeviceNotReady: a device is absent or busy.
        DeviceThrottled: a network could be timed only while its device was throttled.
    """
    if len(folders) < LEAST_RUNS:
        raise RunFolderError(f"{len(folders)} run to compare; name two or more run folders.")
    runs = [open_run(folder) for folder in folders]
    names = _names(folders)
    everywhere: dict[str, Column] = {}
    for column in (*(make_column(run.device, "fp32") for run in runs), *columns):
        everywhere.setdefault(column.label, column)
    measured: dict[str, list[StabilityReport]] = {}
    for done, (label, column) in enumerate(everywhere.items()):
        update(done, len(everywhere))
        measured[label] = _time_on(column, runs)
    update(len(everywhere), len(everywhere))
    rows = range(len(runs))
    return Matrix(
        runs=tuple(names),
        columns=tuple(everywhere),
        own=tuple(run.device.name for run in runs),
        accuracy=tuple(read_result(TrainFiles(folder=run.folder.training("derived")))["accuracy"] for run in runs),
        latency_ms=tuple(tuple(measured[label][row].latency_ms for label in everywhere) for row in rows),
        spread=tuple(tuple(measured[label][row].spread for label in everywhere) for row in rows),
        verdict=tuple(tuple(measured[label][row].verdict for label in everywhere) for row in rows),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _time_on(column: Column, runs: Sequence[Run]) -> list[StabilityReport]:
    """What each run's derived network takes on one device."""
    with tempfile.TemporaryDirectory(prefix="proxyless-") as folder, open_session(column.device) as session:
        files = [
            ModelFile(model_id=f"run{index}", path=_model_file(column, run, Path(folder) / f"run{index}"))
            for index, run in enumerate(runs)
        ]
        timings = {timing.model_id: timing for timing in usable_timings(session, files)}
    return [judge_timing(timings[file.model_id], column.device.plan) for file in files]


def _model_file(column: Column, run: Run, beside: Path) -> Path:
    """The exported file where the run has one of its present weights, else one that is written now from them."""
    suffix = MODEL_SUFFIX[column.device.runtime.name]
    exported = run.folder.exported("derived", suffix if column.dtype == "fp32" else f"-{column.dtype}{suffix}")
    if is_exported(run, "derived") and exported.exists():
        return exported
    network = run.read_network("derived")
    model = load_trained(network, TrainFiles(folder=run.folder.training("derived")))
    path = beside.with_suffix(suffix)
    if suffix == ".pt":
        write_torchscript(network, folded_weights(model), path)
        return path
    data = run.split(run.preset.train_settings(run.settings.seed).held_out_fraction)
    form = next(form for form in ALL_FORMATS if form.suffix == suffix and form.dtype == column.dtype)
    weights = folded_weights(model)
    int8 = calibrated(network, weights, data, run.settings.seed) if column.dtype == "int8" else None
    write_format(form, network, weights, path, int8=int8, metadata=preprocessing(data))
    return path
