"""Counts what one step of a supernet runs, ours or a peer's; read by programs of either environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

from torch import nn


class ForwardCounter:
    """Runs of candidates in each pass, from one run of the stem to the next: a step's backward is counted with it."""

    def __init__(self, stem: nn.Module, positions: Sequence[Iterable[nn.Module]]) -> None:
        self.position_count = len(positions)
        self.by_pass: list[int] = []
        stem.register_forward_pre_hook(self._begin)
        for candidates in positions:
            for candidate in candidates:
                candidate.register_forward_hook(self._count)

    def _begin(self, *_: Any) -> None:
        self.by_pass.append(0)

    def _count(self, *_: Any) -> None:
        self.by_pass[-1] += 1

    def per_position(self, first: int) -> float:
        """Mean runs per position in every second pass from ``first`` on: weight and architecture steps take turns."""
        return mean(self.by_pass[first::2]) / self.position_count
