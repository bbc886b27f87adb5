"""Small made-up folders in the layout of the public data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latency_model.features import FloatArray

POSITIONS, CANDIDATES = 22, 9


def made_up_choices(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, CANDIDATES, (count, POSITIONS))


def made_up_ms(choices: np.ndarray, seed: int, noise: float = 0.01) -> FloatArray:
    """An additive device that is like the others: a common table, its own part, and noise."""
    table = np.random.default_rng(0).random((POSITIONS, CANDIDATES))
    rng = np.random.default_rng(seed)
    own = table + 0.2 * rng.random((POSITIONS, CANDIDATES))
    exact = (1 + seed % 5) * (5.0 + own[np.arange(POSITIONS), choices].sum(axis=1))
    return np.asarray(exact * np.exp(rng.normal(0, noise, len(choices))))


def write_fbnet(folder: Path, networks: Sequence[Any], latency_ms: Mapping[str, Any]) -> None:
    """``networks`` and the labels of each device are written as they are, right or wrong."""
    latencies = folder / "help" / "fbnet" / "latency"
    latencies.mkdir(parents=True)
    torch.save(list(networks), latencies.parent / "arch.pt")
    for device, values in latency_ms.items():
        torch.save(values.tolist() if isinstance(values, np.ndarray) else values, latencies / f"{device}.pt")


def write_phones(folder: Path, lines: Mapping[str, Sequence[str]]) -> None:
    runs = folder / "iitm_phones" / "cpu"
    runs.mkdir(parents=True)
    for phone, texts in lines.items():
        (runs / f"{phone}.txt").write_text("\n".join(texts) + "\n")


def made_up_lines(count: int, factor: float, seed: int = 0) -> list[str]:
    """Ten runs of each network; the first is a slow warm-up."""
    network_ms = np.exp(np.random.default_rng(0).normal(3, 1, count))
    rng = np.random.default_rng(seed)
    runs = factor * network_ms[:, None] * np.exp(rng.normal(0, 0.01, (count, 10)))
    runs[:, 0] *= 3
    return [",".join(f"{run:.6f}" for run in row) for row in runs]
