"""The predictor of a device as the constants of a latency loss: what each path costs, and what every network pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latency_model.correction import MOST_RELIEF
from latency_model.features import FloatArray
from latency_model.network_latency import NetworkLatency
from latency_model.ops import OpSpec

MOST_SHARE = 0.5
"""Of the ops of the fastest network, which may be far smaller than any that taught it, a negative constant takes no
more: a loss needs latencies above 0."""


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
    predictor: NetworkLatency, positions: Sequence[Sequence[OpSpec]], fixed: Sequence[OpSpec], target_ms: float
) -> PathLatencies:
    """Freeze what ``predictor`` says of a space, for a search that aims at ``target_ms``.

    ``predict_network`` bends ``max(sum + c, (1 - MOST_RELIEF) * sum)``, with a constant c that may be negative, by the
    growth of networks. The line here meets it at the target, so the same networks are within the budget. It touches it
    there, too, where all networks of the space then take longer than nothing.

    Args:
        positions: the candidates of each position.
        fixed: the ops that every network of the space has.
    Raises:
        UnknownOpError: an op that the predictor cannot speak of.
        ValueError: a target that is no latency.
    """
    if not (math.isfinite(target_ms) and target_ms > 0):
        raise ValueError(f"target_ms is {target_ms}; it is a finite number of milliseconds above 0.")
    paths = tuple(predictor.sum_contribution_ms(candidates) for candidates in positions)
    fixed_ops_ms = float(predictor.sum_contribution_ms(fixed).sum())
    fastest_ops_ms = fixed_ops_ms + sum(float(latency_ms.min()) for latency_ms in paths)
    target_sum_ms = float(predictor.growth.sum_ms(target_ms))
    of_ops_ms = target_sum_ms - max(predictor.sum_constant_ms, -target_sum_ms * MOST_RELIEF / (1 - MOST_RELIEF))
    touching_slope = float(predictor.growth.slope(target_sum_ms))
    touching_ms = target_ms - touching_slope * of_ops_ms
    constant_ms = max(touching_ms, -MOST_SHARE * fastest_ops_ms)
    slope = touching_slope if constant_ms == touching_ms else (target_ms - constant_ms) / of_ops_ms
    return PathLatencies(tuple(slope * latency_ms for latency_ms in paths), slope * fixed_ops_ms + constant_ms)
