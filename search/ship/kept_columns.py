"""Columns of a comparison that was stopped, kept beside its page until it is whole: no device is asked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from profiler_agent.bundle import file_sha256
from profiler_agent.device import Device
from profiler_agent.stability import Verdict
from search.files import append_json_line, read_json_lines


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network on one device; ``spread`` is None after a single session, which has nothing to differ from."""

    latency_ms: float
    spread: float | None
    verdict: Verdict


class KeptColumns:
    """What was measured so far, a line of a file for each device.

    A column counts for the very model files and the very device file that it was measured with, in any order of runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, device: Device, models: Sequence[Path]) -> list[Cell] | None:
        """The cells of ``models``, in their order; None where this device was not measured with all of them."""
        wanted = [file_sha256(model) for model in models]
        for line in read_json_lines(self.path):
            if line["device"] == _device_hash(device) and set(wanted) <= line["cells"].keys():
                return [Cell(**line["cells"][sha256]) for sha256 in wanted]
        return None

    def keep(self, device: Device, models: Sequence[Path], cells: Sequence[Cell]) -> None:
        by_model = {file_sha256(model): asdict(cell) for model, cell in zip(models, cells, strict=True)}
        append_json_line(self.path, {"device": _device_hash(device), "cells": by_model})

    def forget(self) -> None:
        """Once the comparison is whole and written: the next one measures anew."""
        self.path.unlink(missing_ok=True)


def _device_hash(device: Device) -> str:
    facts = {name: repr(value) for name, value in vars(device).items() if name != "source_file"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
