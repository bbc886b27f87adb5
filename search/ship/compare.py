"""Measures the specialisation matrix: every run's derived network on every device."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from latency_model.lowering.torchscript import write_torchscript
from latency_model.ops import Dtype
from profiler_agent.device import Device, TimingPlan, load_device
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import agreeing_sessions, judge_timing
from profiler_agent.timing import Timing
from search.errors import RunFolderError
from search.export_formats import ALL_FORMATS, calibrated, write_format
from search.file_metadata import preprocessing
from search.plain_network import folded_weights
from search.progress import Update
from search.run import Run, RunFolder, open_run, read_target
from search.ship.kept_columns import Cell, KeptColumns
from search.ship.matrix import Matrix
from search.steps.export import is_exported
from search.steps.report import write_card
from search.steps.train import require_trained
from search.steps.verify import MODEL_SUFFIX, usable_timings
from search.train_network import TrainFiles, load_trained, read_result

LEAST_RUNS = 2
RUNTIME_DETAIL = {"torch": "torch (traced TorchScript, not eager)"}
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One device, and the numbers that networks are given to it in."""

    device: Device
    dtype: Dtype

    @property
    def label(self) -> str:
        return self.device.name if self.dtype == "fp32" else f"{self.device.name} {self.dtype}"

    @property
    def detail(self) -> str:
        """What runs the models, for people."""
        runtime, sessions = self.device.runtime, self.device.plan.session_count
        what = RUNTIME_DETAIL.get(runtime.name, runtime.name)
        threads = f"{runtime.thread_count} thread{'s' if runtime.thread_count > 1 else ''}"
        where = "" if runtime.accelerator == "cpu" else f", {runtime.accelerator}"
        return f"{what}{where}, {self.dtype}, {threads}, {sessions} session{'s' if sessions > 1 else ''}"


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


def numbers_beside(page: Path) -> Path:
    """Where the numbers of a page go.

    Raises:
        RunFolderError: the page would be written over them.
    """
    numbers = page.with_suffix(".json")
    if numbers == page:
        raise RunFolderError(
            f"--out {page}: the numbers go there, beside the page. Name the page, for example "
            f"{page.with_suffix('.html')}."
        )
    return numbers


def compare_on_devices(folders: Sequence[Path], columns: Sequence[Column], kept: KeptColumns, update: Update) -> Matrix:
    """Measure all derived networks on each device, interleaved within one session per device.

    Args:
        columns: devices beside those that the runs searched for, which are always there.
        kept: where the devices that were measured stay when a later one fails.
    Raises:
        RunFolderError: fewer than two runs, or one whose derived network is not trained to the end; or two devices of
            one name.
        DeviceNotReady: a device is absent or busy.
        DeviceThrottled: a network could be timed only while its device was throttled.
    """
    if len(folders) < LEAST_RUNS:
        raise RunFolderError(f"{len(folders)} run to compare; name two or more run folders.")
    runs = [open_run(folder) for folder in folders]
    for run in runs:
        require_trained(run, "derived")
    results = [read_result(TrainFiles(folder=run.folder.training("derived"))) for run in runs]
    names = _names(folders)
    everywhere = distinct_columns([*(make_column(run.device, "fp32") for run in runs), *columns])
    measured: list[list[Cell]] = []
    for column in everywhere.values():
        update(len(measured), len(everywhere))
        measured.append(_time_on(column, runs, kept))
    update(len(everywhere), len(everywhere))
    rows = list(zip(*measured, strict=True))
    return Matrix(
        runs=tuple(names),
        columns=tuple(everywhere),
        details=tuple(column.detail for column in everywhere.values()),
        own=tuple(run.device.name for run in runs),
        accuracy=tuple(result["accuracy"] for result in results),
        data=_data_of(runs, results),
        latency_ms=tuple(tuple(cell.latency_ms for cell in row) for row in rows),
        spread=tuple(tuple(cell.spread for cell in row) for row in rows),
        verdict=tuple(tuple(cell.verdict for cell in row) for row in rows),
        budget_ms=tuple(tuple(_budget_ms(run, column) for column in everywhere.values()) for run in runs),
    )


def write_missing_cards(folders: Sequence[Path]) -> None:
    """Runs that were never reported have no card yet, which the page is made of."""
    for folder in folders:
        files = RunFolder(folder)
        if files.settings.exists() and not files.card.exists():
            write_card(open_run(folder))


def _data_of(runs: Sequence[Run], results: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Which images each accuracy is of. Their content decides where the training kept it, not their name."""
    known: dict[str, str] = {}
    for run, result in zip(runs, results, strict=True):
        name, content = Path(run.settings.data).name, _content(result)
        known.setdefault(content or name, f"{name} ({content[:8]})" if content else name)
    return tuple(
        known[_content(result) or Path(run.settings.data).name] for run, result in zip(runs, results, strict=True)
    )


def _content(result: Mapping[str, Any]) -> str | None:
    content: str | None = (result.get("identity") or {}).get("data")
    return content


def distinct_columns(columns: Sequence[Column]) -> dict[str, Column]:
    """Each column once, by its label. Device files of the same content are one device, wherever they lie.

    Raises:
        RunFolderError: two device files of one name differ, so that a column would mix two devices.
    """
    devices: dict[str, Device] = {}
    for column in columns:
        known = devices.setdefault(column.device.name, column.device)
        if differing := [
            name
            for name in vars(known)
            if name != "source_file" and getattr(known, name) != getattr(column.device, name)
        ]:
            raise RunFolderError(
                f"{known.source_file} and {column.device.source_file} are both called {known.name!r}, and differ in "
                f"{', '.join(differing)}: they cannot share a column. Give one of them another name in its file."
            )
    by_label: dict[str, Column] = {}
    for column in columns:
        by_label.setdefault(column.label, column)
    return by_label


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _budget_ms(run: Run, column: Column) -> float | None:
    """What a run was allowed on a device; it was given a budget for its own, in single precision."""
    if column.label != run.device.name or not run.folder.target.exists():
        return None
    return float(read_target(run.folder)["target_ms"])


def _time_on(column: Column, runs: Sequence[Run], kept: KeptColumns) -> list[Cell]:
    """What each run's derived network takes on one device; measured once in a comparison, however often it is begun."""
    with tempfile.TemporaryDirectory(prefix="proxyless-") as folder:
        models = [_model_file(column, run, Path(folder) / f"run{index}") for index, run in enumerate(runs)]
        if (known := kept.find(column.device, models)) is not None:
            return known
        files = [ModelFile(model_id=f"run{index}", path=path) for index, path in enumerate(models)]
        with open_session(column.device) as session:
            timings = {timing.model_id: timing for timing in usable_timings(session, files)}
        cells = [_judged(timings[file.model_id], column.device.plan) for file in files]
        kept.keep(column.device, models, cells)
    return cells


def _judged(timing: Timing, plan: TimingPlan) -> Cell:
    report = judge_timing(timing, plan)
    counted = len(agreeing_sessions(timing.sessions, plan))
    return Cell(latency_ms=report.latency_ms, spread=report.spread if counted > 1 else None, verdict=report.verdict)


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
    data = run.split(run.train_settings.held_out_fraction)
    form = next(form for form in ALL_FORMATS if form.suffix == suffix and form.dtype == column.dtype)
    weights = folded_weights(model)
    int8 = calibrated(network, weights, data, run.settings.seed) if column.dtype == "int8" else None
    write_format(form, network, weights, path, int8=int8, metadata=preprocessing(data))
    return path
