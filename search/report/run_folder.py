"""Reads a run folder, finished or not: what is not there yet is None."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_model.network import NetworkSpec, network_from_json
from latency_model.op_json import op_from_json
from latency_model.ops import OpSpec, OpSpecError
from search.report.errors import ReportError

RUN_SCHEMA = 1
NETWORK_NAMES = ("derived", "random", "handmade")
Json = dict[str, Any]
_ADDED = re.compile(r"random-(?P<number>\d{1,4})|handmade-k(?P<kernel>\d+)-e(?P<expansion>\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Position:
    """One choice of the space: its candidates and their short labels."""

    name: str
    labels: tuple[str, ...]
    candidates: tuple[OpSpec, ...]


@dataclass(frozen=True)
class ProbabilityFrame:
    step: int
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LayerLatency:
    name: str
    label: str
    predicted_ms: float | None
    measured_ms: float | None


@dataclass(frozen=True)
class Verification:
    """What the device said about one network. ``interval_ms`` is the prediction's."""

    predicted_ms: float | None
    interval_ms: tuple[float, float] | None
    measured_ms: float | None
    measured_median_ms: float | None
    spread: float | None
    verdict: str | None
    pace: float | None
    layers: tuple[LayerLatency, ...]


@dataclass(frozen=True)
class NetworkRecord:
    """All that is known of one network of the run."""

    name: str
    spec: NetworkSpec | None
    verification: Verification | None
    accuracy: float | None
    held_out_accuracy: float | None
    result: Json | None
    train_events: tuple[Json, ...]
    exports: Mapping[str, Json] | None


@dataclass(frozen=True)
class RunRecord:
    """A run folder as the report needs it."""

    folder: Path
    run: Json
    networks: Mapping[str, NetworkRecord]
    events: tuple[Json, ...]
    positions: tuple[Position, ...]
    frames: tuple[ProbabilityFrame, ...]
    derivation: Json | None
    report_card: Json | None
    summary: Json | None
    choices: tuple[int, ...] | None

    @property
    def target_ms(self) -> float | None:
        return number(self.run.get("target") or {}, "target_ms")


def read_run(folder: Path) -> RunRecord:
    """Read what a run folder holds.

    Raises:
        ReportError: no run folder, one of another schema, or a file that cannot be read.
    """
    run = read_json(folder / "run.json")
    if run is None:
        raise ReportError(
            f"{folder} holds no run.json, so it is no run folder. "
            "Name the folder given to --out, for example runs/first."
        )
    if run.get("schema") != RUN_SCHEMA:
        raise ReportError(f"{folder}/run.json has schema {run.get('schema')!r}; this version reads {RUN_SCHEMA}.")
    summary = read_json(folder / "summary.json")
    exports = read_json(folder / "export" / "export.json") or {}
    networks = {name: _read_network(folder, name, summary or {}, exports) for name in network_names(folder)}
    architecture = read_json(folder / "architecture.json")
    target_name = _searched_target(run, architecture)
    search = folder / (run.get("shared_search") or {}).get("folder", ".") / "search"
    return RunRecord(
        folder=folder,
        run=run,
        networks=networks,
        events=_of_one_target(_latest_by_step(read_json_lines(search / "events.jsonl")), target_name),
        positions=_read_positions(search / "space.json"),
        frames=_read_frames(search / "probabilities.jsonl", target_name),
        derivation=read_json(folder / "search" / "derivation.json"),
        report_card=read_json(folder / "predictor" / "report_card.json"),
        summary=summary,
        choices=tuple(architecture["choices"]) if architecture and "choices" in architecture else None,
    )


def _searched_target(run: Json, architecture: Json | None) -> str:
    """The name under which the search logged the target that the network was derived for: one width of several, and in
    a search that several runs share one of this run's; before it is derived, the first."""
    width = (architecture or {}).get("space")
    own: dict[str, str] = (run.get("shared_search") or {}).get("targets") or {}
    if own:
        return own.get(str(width)) or next(iter(own.values()))
    return f"{(run.get('device') or {}).get('name')}, {width}"


def network_names(folder: Path) -> list[str]:
    """The three of every run, then the baselines that were added to this one."""
    return [*NETWORK_NAMES, *added_baselines(folder)]


def added_baselines(folder: Path) -> list[str]:
    """Random ones by their number, then hand-made ones by kernel and, wide before narrow, expansion."""
    found = [path.stem for path in (folder / "networks").glob("*.json") if is_added_baseline(path.stem)]
    return sorted(found, key=_place)


def is_added_baseline(name: str) -> bool:
    return _ADDED.fullmatch(name) is not None


def _place(name: str) -> tuple[float, ...]:
    match = _ADDED.fullmatch(name)
    assert match, f"{name} is no baseline that was added"
    if match["number"] is not None:
        return (0, int(match["number"]))
    return (1, int(match["kernel"]), -float(match["expansion"]))


def number(record: Mapping[str, Any], key: str) -> float | None:
    """A finite number under the key, or None."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_json(path: Path) -> Json | None:
    """The object in a file; None when there is no such file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path} cannot be read ({error}). Remove it and run the step that makes it again."
        ) from error
    if not isinstance(data, dict):
        raise ReportError(f"{path} holds a {type(data).__name__}, not an object. Run the step that makes it again.")
    return data


def read_json_lines(path: Path) -> list[Json]:
    """The objects of a log. A last line that was cut off by an interruption is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read ({error}). Run the step that makes it again.") from error
    records = []
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if line_number == len(lines):
                break
            raise ReportError(f"{path}, line {line_number} is not JSON ({error}). Remove that line.") from error
    return records


def _latest_by_step(records: list[Json]) -> tuple[Json, ...]:
    """A resumed run logs the steps after its checkpoint again: the later line counts. A step is logged once, or once
    for each of several targets."""
    by_step: dict[int, dict[str | None, Json]] = {}
    for record in records:
        if "step" in record:
            of_step, target = by_step.setdefault(record["step"], {}), record.get("target")
            if target is None or None in of_step:
                of_step.clear()
            of_step[target] = record
    return tuple(record for step in sorted(by_step) for record in by_step[step].values())


def _of_one_target(records: tuple[Json, ...], name: str) -> tuple[Json, ...]:
    """A search may serve several targets in turn; the report follows the run's own, or else the first."""
    names = list(dict.fromkeys(record["target"] for record in records if record.get("target") is not None))
    if not names:
        return records
    shown = name if name in names else names[0]
    return tuple(record for record in records if record.get("target") in (None, shown))


def _read_network(folder: Path, name: str, summary: Json, exports: Json) -> NetworkRecord:
    result = read_json(folder / "train" / name / "result.json")
    accuracy = number(result or {}, "accuracy")
    if accuracy is None:
        accuracy = number(summary.get("accuracy") or {}, name)
    return NetworkRecord(
        name=name,
        spec=_read_spec(folder / "networks" / f"{name}.json"),
        verification=_read_verification(folder / "verify" / f"{name}.json"),
        accuracy=accuracy,
        held_out_accuracy=number(result or {}, "held_out_accuracy"),
        result=result,
        train_events=_latest_by_step(read_json_lines(folder / "train" / name / "events.jsonl")),
        exports=exports.get(name),
    )


def _read_spec(path: Path) -> NetworkSpec | None:
    data = read_json(path)
    if data is None:
        return None
    try:
        return network_from_json(data)
    except (OpSpecError, KeyError) as error:
        raise ReportError(f"{path} describes no network ({error}). Run the step that makes it again.") from error


def _read_verification(path: Path) -> Verification | None:
    data = read_json(path)
    if data is None:
        return None
    interval = data.get("predicted_interval_ms")
    return Verification(
        predicted_ms=number(data, "predicted_ms"),
        interval_ms=(float(interval[0]), float(interval[1])) if interval else None,
        measured_ms=number(data, "measured_ms"),
        measured_median_ms=number(data, "measured_median_ms"),
        spread=number(data, "spread"),
        verdict=data.get("verdict"),
        pace=number(data, "pace"),
        layers=tuple(
            LayerLatency(
                name=str(layer["name"]),
                label=str(layer.get("label") or ""),
                predicted_ms=number(layer, "predicted_ms"),
                measured_ms=number(layer, "measured_ms"),
            )
            for layer in data.get("layers") or ()
        ),
    )


def _read_positions(path: Path) -> tuple[Position, ...]:
    data = read_json(path)
    if data is None:
        return ()
    try:
        return tuple(
            Position(
                name=str(position["name"]),
                labels=tuple(position["labels"]),
                candidates=tuple(op_from_json(op) for op in position["candidates"]),
            )
            for position in data["positions"]
        )
    except (OpSpecError, KeyError) as error:
        raise ReportError(f"{path} describes no space ({error}). Remove it; the search step writes it anew.") from error


def _read_frames(path: Path, target_name: str) -> tuple[ProbabilityFrame, ...]:
    records = _of_one_target(_latest_by_step(read_json_lines(path)), target_name)
    return tuple(
        ProbabilityFrame(record["step"], tuple(tuple(row) for row in record["probabilities"])) for record in records
    )
