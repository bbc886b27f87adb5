"""Run: one run folder with its settings, and what its steps share (images, space, device, predictor)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_model.network import NetworkSpec, network_to_json
from search.errors import RunFolderError, TargetError
from search.files import NUMBER, read_record, write_json
from search.kept_data import require_same_data
from search.network_file import read_network_file
from search.presets import Preset, find_preset
from search.run_lock import alone_in
from search.run_settings import (
    RunSettings,
    Target,
    keep_settings,
    read_settings,
    require_same,
    resumed_settings,
)
from search.started_elsewhere import require_in_reach

if TYPE_CHECKING:
    from latency_model.network_latency import NetworkLatency
    from profiler_agent.device import Device
    from profiler_agent.session import Session
    from search.batches import SplitData
    from search.data.image_data import ImageData
    from search.settings import SearchSettings, TrainSettings
    from search.space import SearchSpace

NETWORK_NAMES = ("derived", "random", "handmade")
SMALLEST_IMAGE = 16


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run lies."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def card(self) -> Path:
        return self.path / "run.json"

    @property
    def predictor(self) -> Path:
        return self.path / "predictor"

    @property
    def search(self) -> Path:
        return self.path / "search"

    @property
    def architecture(self) -> Path:
        return self.path / "architecture.json"

    @property
    def derivation(self) -> Path:
        return self.path / "search" / "derivation.json"

    @property
    def target(self) -> Path:
        return self.path / "search" / "target.json"

    @property
    def shared_targets(self) -> Path:
        """Whom the search in this folder serves, when several runs share it."""
        return self.path / "search" / "targets.json"

    @property
    def shared(self) -> Path:
        """Points to the run folder that holds the search, when it is another's."""
        return self.path / "search" / "shared.json"

    @property
    def shared_cost(self) -> Path:
        return self.path / "search" / "cost.json"

    @property
    def exports(self) -> Path:
        return self.path / "export" / "export.json"

    @property
    def seconds(self) -> Path:
        return self.path / "seconds.json"

    @property
    def device_seconds(self) -> Path:
        return self.path / "device_seconds.json"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def network(self, name: str) -> Path:
        return self.path / "networks" / f"{name}.json"

    def training(self, name: str) -> Path:
        return self.path / "train" / name

    def curves(self, name: str) -> Path:
        """TensorBoard's files about the search, or about the training of one network."""
        return self.path / "tensorboard" / name

    def exported(self, name: str, suffix: str) -> Path:
        return self.path / "export" / f"{name}{suffix}"

    def verification(self, name: str) -> Path:
        return self.path / "verify" / f"{name}.json"


class Run:
    """A run folder and what is read through it, each thing once."""

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        self.folder = RunFolder(folder)
        self.settings = settings

    @property
    def measurements(self) -> Path:
        """The file that this run's measurements join: its own, or the one it was told to share."""
        if self.settings.measurements is not None:
            return Path(self.settings.measurements)
        return self.folder.path / "measurements.jsonl"

    @property
    def target(self) -> Target:
        """The budget.

        Raises:
            TargetError: none was given yet.
        """
        if self.settings.target is None:
            raise TargetError(f"{self.folder.path} has no budget yet; give one with --target or --target-ms.")
        return self.settings.target

    @cached_property
    def preset(self) -> Preset:
        return find_preset(self.settings.preset)

    def search_settings(self, steps_per_pass: int) -> SearchSettings:
        """How the run searches, given the weight steps of one pass over its training images.

        Raises:
            RunFolderError: a number of it means nothing.
        """
        asked = self.settings
        return replace(
            self.preset.search_settings(steps_per_pass, asked.seed),
            estimator=asked.estimator,
            latency_weight_per_ms=asked.latency_weight_per_ms,
            least_budget_share=asked.least_budget_share,
        )

    @cached_property
    def train_settings(self) -> TrainSettings:
        """The recipe by which every network of the run is trained, baselines that are added later too.

        Raises:
            RunFolderError: a number of it means nothing.
        """
        asked = self.settings
        probe = self.preset.train_settings(1, asked.seed)
        steps_per_epoch = self.split(probe.held_out_fraction).train_steps_per_pass(probe.batch_size)
        return replace(
            self.preset.train_settings(steps_per_epoch, asked.seed),
            dropout=asked.dropout,
            ema_decay=asked.ema_decay,
            mixup_alpha=asked.mixup_alpha,
        )

    @cached_property
    def device(self) -> Device:
        from profiler_agent.device import load_device  # noqa: PLC0415 - reads YAML only when a device is needed

        require_in_reach(self.folder.settings, "device", self.settings.device)
        return load_device(self.settings.device)

    @cached_property
    def data(self) -> ImageData:
        """The images; once the folder is there, those that the run began with.

        Raises:
            DataError: they cannot be read.
            RunFolderError: they are others by now.
        """
        from search.data.load import load_dataset  # noqa: PLC0415 - torch is slow to import

        settings = self.settings
        require_in_reach(self.folder.settings, "data", settings.data)
        data = load_dataset(settings.data, image_size=settings.image_size, limit=settings.image_limit)
        if settings.image_size is None and min(data.image_shape[1:]) < SMALLEST_IMAGE:
            data = load_dataset(settings.data, image_size=SMALLEST_IMAGE, limit=settings.image_limit)
        if self.folder.settings.exists():
            require_same_data(self.folder.data, data, settings.data)
        return data

    @cached_property
    def space(self) -> SearchSpace:
        from search.spaces.registry import load_space  # noqa: PLC0415 - pydantic is slow to import

        return load_space(self.settings.space, self.data.image_shape, self.data.class_count)

    def take_data_of(self, other: Run) -> None:
        """Use the images that another run has read, when both asked for them in the same words."""
        asked = [(one.settings.data, one.settings.image_size, one.settings.image_limit) for one in (self, other)]
        if asked[0] == asked[1]:
            self.data = other.data

    def split(self, held_out_fraction: float) -> SplitData:
        from search.batches import split_data  # noqa: PLC0415 - torch is slow to import

        return split_data(self.data, held_out_fraction=held_out_fraction, seed=self.settings.seed)

    @cached_property
    def predictor(self) -> NetworkLatency:
        """The predictor that ``fit`` saved.

        Raises:
            RunFolderError: there is none yet.
        """
        from latency_model.network_latency import load_network_latency  # noqa: PLC0415 - scikit-learn is slow

        if not self.folder.predictor.is_dir():
            raise RunFolderError(
                f"{self.folder.predictor} is not there; run proxyless fit {self.measurements} --out "
                f"{self.folder.predictor} first."
            )
        return load_network_latency(self.folder.predictor)

    def read_network(self, name: str) -> NetworkSpec:
        """One of the run's networks.

        Raises:
            RunFolderError: it is not there yet, or the file was damaged.
        """
        return read_network_file(self.folder.network(name))

    def write_network(self, network: NetworkSpec) -> None:
        write_json(self.folder.network(network.name), network_to_json(network))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Adds the time spent inside to the step's seconds, also when it is interrupted.

        Raises:
            RunFolderError: another process is at work in the folder.
        """
        with alone_in(self.folder.path):
            started = time.monotonic()
            try:
                yield
            finally:
                _add_seconds(self.folder.seconds, step, time.monotonic() - started)

    @contextmanager
    def open_device(self, step: str) -> Iterator[Session]:
        """The run's device, open; how long it was in use is added to the step's device time, also after an error.

        Raises:
            DeviceNotReady: it is absent, refuses, is full, or lacks the runtime.
        """
        from profiler_agent.session import open_session  # noqa: PLC0415 - only steps that time something need it

        with open_session(self.device) as session:
            try:
                yield session
            finally:
                _add_seconds(self.folder.device_seconds, step, session.device_s)

    def seconds(self) -> dict[str, Any]:
        """What each step took, by our clock."""
        return _read_seconds(self.folder.seconds)

    def device_seconds(self) -> dict[str, Any]:
        """How long each step had the device in use; steps done before this was written down are not there."""
        return _read_seconds(self.folder.device_seconds)


def read_target(folder: RunFolder) -> dict[str, Any]:
    """The budget in milliseconds as the search fixed it, and what it is a fraction of.

    Raises:
        RunFolderError: it has not yet, or the file was damaged.
    """
    return read_record(folder.target, {"target_ms": NUMBER})


def _read_seconds(path: Path) -> dict[str, Any]:
    return read_record(path, {}) if path.exists() else {}


def _add_seconds(path: Path, step: str, more_s: float) -> None:
    seconds = _read_seconds(path)
    write_json(path, seconds | {step: round(seconds.get(step, 0.0) + more_s, 2)})


def start_run(folder: Path, settings: RunSettings) -> Run:
    """A new run, or the same one again.

    Raises:
        RunFolderError: the folder belongs to a run with other settings.
    """
    run = Run(folder, settings)
    keep_settings(run.folder.settings, settings, is_target_kept=run.folder.target.exists())
    return run


def require_startable(run: Run) -> None:
    """Raise where ``start_run`` would; nothing is written.

    Raises:
        RunFolderError: the folder belongs to a run with other settings.
    """
    if run.folder.settings.exists():
        resumed_settings(run.folder.settings, run.settings, is_target_kept=run.folder.target.exists())


def open_run(folder: Path) -> Run:
    """An existing run.

    Raises:
        RunFolderError: the folder holds none.
    """
    return Run(folder, read_settings(RunFolder(folder).settings))


def with_target(run: Run, target: Target) -> Run:
    """The run with its budget set; the search writes it down when it is in reach.

    Raises:
        RunFolderError: it has another budget already, that a search began with.
    """
    settings = replace(run.settings, target=target)
    if run.settings.target is not None and run.folder.target.exists():
        require_same(run.folder.path, run.settings, settings)
    return Run(run.folder.path, settings)
