"""Tables of the report: networks, exports, predictor, cost and the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.report.charts import network_title
from search.report.headline import measured, predicted
from search.report.numbers import MISSING, format_moment, format_percent, format_seconds, relative_gap, significant
from search.report.run_folder import Json, NetworkRecord, RunRecord, number
from search.report.search_facts import search_facts

Fact = tuple[str, str]
LEAST_POINTS = 0.05


@dataclass(frozen=True)
class ExportRow:
    """One exported file: its size, its largest error against torch, the accuracy of the file itself, and what of
    torch's accuracy is lost."""

    key: str
    format: str
    size_bytes: float | None
    max_relative_error: float | None
    accuracy: float | None
    accuracy_loss: float | None
    image_count: float | None

    @property
    def accuracy_change(self) -> str:
        """The loss in points, as a change."""
        if self.accuracy_loss is None:
            return MISSING
        points = -100 * self.accuracy_loss
        return "0.0" if abs(points) < LEAST_POINTS else f"{points:+.1f}".replace("-", "\u2212")


@dataclass(frozen=True)
class NetworkRow:
    """One network in the tables; what is missing is None."""

    name: str
    title: str
    record: NetworkRecord
    predicted_ms: float | None
    measured_ms: float | None
    budget_gap: float | None
    parameters: float | None
    macs: float | None
    passes: float | None
    seconds: float | None
    exports: tuple[ExportRow, ...]


_NEEDS_DEVICE = ("profile", "derive", "verify")


@dataclass(frozen=True)
class CostRow:
    """One step; the shares are percent of the longest. ``device_s`` is None where the device was not in use, or where
    that was not recorded."""

    step: str
    seconds: float
    share: float
    device_s: float | None
    device_share: float | None


@dataclass(frozen=True)
class CostCard:
    """``device_total_s`` is None when the device time of a step in ``unrecorded`` is not known."""

    rows: tuple[CostRow, ...]
    total_s: float
    device_total_s: float | None
    unrecorded: tuple[str, ...]
    passes: tuple[Fact, ...]


def network_rows(run: RunRecord) -> list[NetworkRow]:
    """The networks of which anything is known."""
    rows = []
    for name, record in run.networks.items():
        result = record.result or {}
        measured_ms = measured(run, name)
        row = NetworkRow(
            name=name,
            title=network_title(name),
            record=record,
            predicted_ms=predicted(run, name),
            measured_ms=measured_ms,
            budget_gap=relative_gap(measured_ms, run.target_ms),
            parameters=number(result, "parameters"),
            macs=number(result, "macs"),
            passes=number(result, "passes"),
            seconds=number(result, "seconds"),
            exports=_exports(record),
        )
        if any((record.spec, record.result, record.verification, record.accuracy is not None)):
            rows.append(row)
    return rows


def _exports(record: NetworkRecord) -> tuple[ExportRow, ...]:
    return tuple(
        ExportRow(
            key=name,
            format=name.replace("-", " ").replace("onnx", "ONNX").replace("tflite", "TFLite"),
            size_bytes=number(values, "bytes"),
            max_relative_error=number(values, "max_relative_error"),
            accuracy=number(values, "accuracy"),
            accuracy_loss=number(values, "accuracy_loss"),
            image_count=number(values, "accuracy_images"),
        )
        for name, values in (record.exports or {}).items()
    )


_FIGURES = (
    ("mape", "Mean absolute error"),
    ("within_5_percent", "Within 5 %"),
    ("within_10_percent", "Within 10 %"),
    ("coverage", "Inside their interval"),
    ("mean_half_width", "Half-width of the interval"),
)


def predictor_rows(card: Json) -> list[tuple[str, str, str]]:
    """(what, the predictor's figure, that of a line through multiply-adds), on whole networks."""
    networks, baseline = card.get("networks") or {}, card.get("networks_flops_baseline") or {}
    rows = [
        (title, format_percent(number(networks, key)), format_percent(number(baseline, key)))
        for key, title in _FIGURES
        if number(networks, key) is not None
    ]
    rank = number(networks, "spearman")
    if rank is not None:
        other = number(baseline, "spearman")
        rows.append(("Rank correlation", significant(rank), "—" if other is None else significant(other)))
    return rows


def cost_card(run: RunRecord) -> CostCard | None:
    """Where the time went, and how often the images were seen; None when nothing is known."""
    seconds = {
        key: value for key in (run.summary or {}).get("seconds") or {} if (value := _number_of(run, "seconds", key))
    }
    passes: list[Fact] = []
    if run.events and (epoch := number(run.events[-1], "epoch")) is not None:
        passes.append(("Search", f"{epoch:.1f} passes over the training part"))
    if shared := (run.run.get("shared_search") or {}).get("cost"):
        passes.append((f"Search for {shared['runs']} runs together", _shared_cost(shared)))
    for name, record in run.networks.items():
        count = number(record.result or {}, "passes")
        if count is not None:
            taken = format_seconds(number(record.result or {}, "seconds"))
            passes.append((f"Training, {network_title(name).lower()}", f"{count:.1f} passes in {taken}"))
    if not seconds and not passes:
        return None
    device_s = {step: _number_of(run, "device_seconds", step) for step in seconds}
    unrecorded = tuple(step for step in seconds if step in _NEEDS_DEVICE and device_s[step] is None)
    longest = max(seconds.values(), default=1.0)
    rows = tuple(
        CostRow(step, value, 100 * value / longest, used, None if used is None else 100 * used / longest)
        for step, value in seconds.items()
        for used in (device_s[step],)
    )
    return CostCard(rows, sum(seconds.values()), device_total_s(run), unrecorded, tuple(passes))


def device_total_s(run: RunRecord) -> float | None:
    """How long the run had its device in use; None when a step that needs it did not record that."""
    used = {step: _number_of(run, "device_seconds", step) for step in (run.summary or {}).get("seconds") or {}}
    if not used or any(used[step] is None for step in _NEEDS_DEVICE if step in used):
        return None
    return sum(value for value in used.values() if value is not None)


def _shared_cost(cost: Json) -> str:
    return (
        f"{cost['passes']:.1f} passes over the training images in {format_seconds(number(cost, 'seconds'))}; separate "
        f"searches: {cost['separate_passes']:.1f} passes in {format_seconds(number(cost, 'separate_seconds'))}"
    )


def _number_of(run: RunRecord, table: str, step: str) -> float | None:
    return number((run.summary or {}).get(table) or {}, step)


def recipe_words(training: Json) -> str:
    """How long every network was trained, and what was added to the recipe; empty for a card from before this."""
    if not training:
        return ""
    added = {"dropout": "dropout", "ema_decay": "weights averaged with decay", "mixup_alpha": "mixup with alpha"}
    words = [f"{words} {training[name]:g}" for name, words in added.items() if training[name]]
    return ", ".join([f"{training['epochs']:g} epochs", *words])


def run_card(run: RunRecord) -> list[Fact]:
    """What one needs to know to do it again."""
    record = run.run
    device, runtime = record.get("device") or {}, record.get("runtime") or {}
    data, space = record.get("data") or {}, record.get("space") or {}
    threads = runtime.get("thread_count")
    facts: list[tuple[str, Any]] = [
        ("Device", device.get("name")),
        ("Device file", device.get("config")),
        ("Fingerprint", device.get("fingerprint")),
        ("Runtime", _joined(runtime.get("name"), runtime.get("version"))),
        ("Threads", threads),
        ("Data", data.get("name")),
        ("Images", _image_counts(data)),
        ("Image shape", " × ".join(str(n) for n in data.get("image_shape") or ())),  # noqa: RUF001
        ("Classes", ", ".join(data.get("class_names") or ())),
        ("Space", _joined(space.get("name"), space.get("hash"))),
        ("Target", (record.get("target") or {}).get("text")),
        ("Preset", record.get("preset")),
        *search_facts(record),
        ("Training", recipe_words(record.get("training") or {})),
        ("Seed", record.get("seed")),
        ("Started", format_moment(record.get("started"))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())),
        ("Folder", run.folder),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _joined(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part is not None)


def _image_counts(data: Json) -> str:
    counts: Sequence[Fact] = [
        (part, f"{data[key]:,}") for part, key in (("training", "train_count"), ("test", "test_count")) if data.get(key)
    ]
    return ", ".join(f"{count} {part}" for part, count in counts)
