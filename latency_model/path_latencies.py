"""The predictor of a device as the constants of a latency loss: what each path costs, and what every network pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latency_model.features import FloatArray
from latency_model.network_latency import NetworkLatency
from latency_model.ops import OpSpec

LEAST_SHARE = 0.25
"""What a negative constant leaves at least of the ops of the fastest network, which may be far smaller than any that
taught it: a loss needs latencies above 0."""


@dataclass(frozen=True)
class PathLatencies:
    """Additive: a network takes ``fixed_ms`` plus its path at each position.

    Attributes:
        path_latency_ms: one (candidates,) per position.
        fixed_ms: what every network of the space pays; below 0 only as far as all take longer than nothing.
    """

    path_latency_ms: tuple[FloatArray, ...]
    fixed_ms: float


def path_latencies(
    predictor: NetworkLatency, positions: Sequence[Sequence[OpSpec]], fixed: Sequence[OpSpec]
) -> PathLatencies:
    """Freeze what ``predictor`` says of a space.

    Args:
        positions: the candidates of each position.
        fixed: the ops that every network of the space has.
    Raises:
        UnknownOpError: an op that the predictor cannot speak of.
    """
    paths = tuple(predictor.op_contribution_ms(candidates) for candidates in positions)
    ops_ms = float(predictor.op_contribution_ms(fixed).sum())
    fastest_ms = ops_ms + sum(float(latency_ms.min()) for latency_ms in paths)
    return PathLatencies(paths, ops_ms + max(predictor.constant_ms, (LEAST_SHARE - 1) * fastest_ms))
