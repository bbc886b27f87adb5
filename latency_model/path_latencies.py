"""The predictor of a device as the constants of a latency loss: what each path costs, and what every network pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latency_model.correction import MOST_RELIEF
from latency_model.features import FloatArray
from latency_model.network_latency import NetworkLatency
from latency_model.ops import OpSpec


@dataclass(frozen=True)
class PathLatencies:
    """Additive: a network takes ``fixed_ms`` plus its path at each position.

    Attributes:
        path_latency_ms: one (candidates,) per position.
        fixed_ms: what every network of the space pays.
    """

    path_latency_ms: tuple[FloatArray, ...]
    fixed_ms: float


def path_latencies(
    predictor: NetworkLatency, positions: Sequence[Sequence[OpSpec]], fixed: Sequence[OpSpec], target_ms: float
) -> PathLatencies:
    """Freeze what ``predictor`` says of a space, for a search that aims at ``target_ms``.

    ``predict_network`` is no straight line where a negative constant takes off no more than MOST_RELIEF. The line here
    meets it at the target: the same networks are within the budget. Far below, the line may say less, and for networks
    of almost nothing less than nothing.

    Args:
        positions: the candidates of each position.
        fixed: the ops that every network of the space has.
    Raises:
        UnknownOpError: an op that the predictor cannot speak of.
    """
    paths = tuple(predictor.op_contribution_ms(candidates) for candidates in positions)
    # max(sum + c, (1 - r) sum) <= target is sum <= min(target - c, target / (1 - r)): the second as a constant too.
    most_relief_ms = target_ms * MOST_RELIEF / (1 - MOST_RELIEF)
    constant_ms = max(predictor.constant_ms, -most_relief_ms)
    return PathLatencies(paths, float(predictor.op_contribution_ms(fixed).sum()) + constant_ms)
