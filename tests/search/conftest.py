"""Fixtures of the tiny search, and a made-up device for it."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch

from latency_model.kernels import macs
from search.architecture_step import LatencyTarget
from search.batches import SplitData
from search.space import SearchSpace
from tests.search.small_search import CLASSES, PIXELS, small_data, tiny_space


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    """The command line sets handlers of its own, for the whole process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def space() -> SearchSpace:
    return tiny_space()


@pytest.fixture
def images_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(12, 1, PIXELS, PIXELS, generator=generator), torch.arange(12) % CLASSES


@pytest.fixture
def data() -> SplitData:
    return small_data()


@pytest.fixture
def runs(tmp_path):
    """``runs()``: the runs of one shared search, as a new process finds them."""
    from tests.search.made_up_runs import three_runs

    return lambda root=tmp_path: three_runs(root)


def target_from_macs(space: SearchSpace, target_ms: float, name: str = "device") -> LatencyTarget:
    """A made-up device on which a path costs its multiply-accumulates and a fixed launch."""
    paths = tuple(
        np.array([0.0 if c.label == "skip" else 0.01 + macs(c.op) / 1e6 for c in position.candidates])
        for position in space.positions
    )
    return LatencyTarget(name=name, target_ms=target_ms, path_latency_ms=paths, fixed_ms=0.02)
