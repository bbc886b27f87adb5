"""Runs that are profiled and fitted, made up: a tiny space, a predictor of one number, images of bright rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from latency_model.growth import NO_GROWTH
from search import trainer as trainer_module
from search.run import Run
from search.run_settings import RunSettings, Target, keep_settings
from search.steps.search import search
from tests.search.small_search import small_data, tiny_space

QUIET = Console(quiet=True)
SETTINGS = RunSettings(device="here.yaml", data="rows", target=Target(milliseconds=0.057), preset="smoke")


class FlatPredictor:
    """Every op costs the same, every network 0.005 ms on top."""

    sum_constant_ms, growth = 0.005, NO_GROWTH

    def __init__(self, op_ms: float = 0.01) -> None:
        self.op_ms = op_ms

    def sum_contribution_ms(self, ops):
        return np.array([0.0 if op.kind in ("zero", "identity") else self.op_ms for op in ops])


def make_run(folder: Path, *, device: str = "here", op_ms: float = 0.01, **settings) -> Run:
    """A run that is profiled and fitted, of the tiny space on made-up images; opened again, it is the same."""
    run = Run(folder, dataclasses.replace(SETTINGS, **settings))
    if not run.folder.settings.exists():
        keep_settings(run.folder.settings, dataclasses.replace(run.settings, target=None))
    run.data, run.space = small_data().data, tiny_space()
    run.device = SimpleNamespace(name=device)
    run.predictor = FlatPredictor(op_ms)
    return run


def three_runs(root: Path) -> list[Run]:
    """Two budgets on one device and one on another, as a new process finds them."""
    return [
        make_run(root / "a"),
        make_run(root / "b", target=Target(milliseconds=0.062)),
        make_run(root / "c", device="phone", op_ms=0.02, target=Target(milliseconds=0.11)),
    ]


def searched(runs: list[Run]) -> list[Run]:
    search(runs[0], QUIET, others=runs[1:])
    return runs


def stopped_at(runs: list[Run], step: int, monkeypatch) -> None:
    """Search until the process dies after a step; its checkpoint is some steps older."""

    class Killed(BaseException):
        pass

    class Doomed(trainer_module.SearchTrainer):
        def take_step(self) -> None:
            if self.step == step:
                raise Killed
            super().take_step()
            if self.step == step - 3:
                self.save()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("search.steps.search.SearchTrainer", Doomed)
        searched(runs)
