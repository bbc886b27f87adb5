"""What to measure: the networks and ops that say most about all others, chosen without any latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latency_model.features import FloatArray, edge_values, op_columns, op_costs
from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec
from latency_model.ops import OpSpec
from latency_model.regressor_features import op_features

# Bytes moved stand in for the time of MACs, kernels for overhead: no latency is known at this point.
_MACS_PER_BYTE = 4.0
_BYTES_PER_KERNEL = 20_000.0
_NOISE = 0.1
# Length of the local kernel, as a share of the usual squared distance between two ops.
_LOCALITY = 0.05


def choose_networks(pool: Sequence[NetworkSpec], count: int) -> tuple[NetworkSpec, ...]:
    """Greedy choice of the networks whose latency is least determined by those chosen before.

    Args:
        pool: candidates, such as a few hundred random networks of a space. Those that cost nothing teach nothing.
        count: how many to choose; the whole pool when it is no larger.
    """
    distinct = [network for ops, network in {paid_ops(network): network for network in pool}.items() if ops]
    rows = network_design([paid_ops(network) for network in distinct])
    return tuple(distinct[row] for row in most_informative_rows(rows, count, _NOISE))


def network_design(networks: Sequence[Sequence[OpSpec]]) -> FloatArray:
    """(networks, features): share of each op in a rough cost, and of the terms that all ops share."""
    ops = list(dict.fromkeys(op for network in networks for op in network))
    column = {op: index for index, op in enumerate(ops)}
    counts = np.zeros((len(networks), len(ops)))
    for row, network in enumerate(networks):
        for op in network:
            counts[row, column[op]] += 1
    costs = op_costs(op_columns(ops))
    kernels = costs.kernel_count * _BYTES_PER_KERNEL
    rough = costs.bytes_moved + costs.macs / _MACS_PER_BYTE + kernels
    by_op = counts * rough
    total = by_op.sum(axis=1)
    of_ops = np.column_stack([kernels, edge_values(ops), costs.weight_bytes])
    shared = np.column_stack([counts @ of_ops, np.full(len(networks), total.mean())])
    return np.asarray(np.column_stack([by_op, shared]) / total[:, None])


def most_informative_rows(rows: FloatArray, count: int, noise: float) -> list[int]:
    """Indices of the rows with the largest variance given those chosen before (pivoted Cholesky).

    Args:
        rows: (n, features), scaled so that every feature has the same prior.
        noise: standard deviation of one measurement, in the same scale.
    """
    gram = rows @ rows.T
    variance = np.diag(gram).copy()
    factors = np.zeros((len(rows), 0))
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        open_variance = variance.copy()
        open_variance[chosen] = -1.0
        pick = int(np.argmax(open_variance))
        chosen.append(pick)
        column = (gram[:, pick] - factors @ factors[pick]) / np.sqrt(variance[pick] + noise**2)
        factors = np.column_stack([factors, column])
        variance = np.maximum(variance - column**2, 0.0)
    return chosen


def choose_ops(pool: Sequence[OpSpec], count: int) -> tuple[OpSpec, ...]:
    """Ops that stand for the whole pool, the most useful first: each lowers the uncertainty about all the most.

    Extremes alone would be a bad choice for trees (18 % against 11 % on phone-GPU convolutions): the kernel is
    local, so that every op should have a measured one near it.
    """
    distinct = list(dict.fromkeys(pool))
    features = op_features(distinct)
    centred = features - features.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred[:, spread > 0] / spread[spread > 0]
    return tuple(distinct[row] for row in representative_rows(scaled, count))


def representative_rows(rows: FloatArray, count: int) -> list[int]:
    """Greedy choice under a Gaussian process with a local kernel: least mean variance over all rows."""
    squares = (rows**2).sum(axis=1)
    distance = (squares[:, None] + squares[None, :] - 2 * rows @ rows.T).clip(min=0.0)
    covariance = np.exp(-distance / max(_LOCALITY * float(np.median(distance)), 1e-12))
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        variance = np.diag(covariance)
        gain = (covariance**2).sum(axis=0) / (variance + _NOISE**2)
        gain[chosen] = -1.0
        pick = int(np.argmax(gain))
        chosen.append(pick)
        column = covariance[:, pick]
        covariance = covariance - np.outer(column, column) / (variance[pick] + _NOISE**2)
    return chosen


def spread_rows(sizes: FloatArray, count: int, offset: float = 0.5) -> list[int]:
    """Rows at evenly spaced quantiles of ``sizes``; ``offset`` in [0, 1) shifts them within their quantiles.

    For a line through few networks that differ by tenfold in size; choosing by information alone takes only the
    ends, where outliers decide.
    """
    order = np.argsort(sizes)
    places = ((np.arange(count) + offset) / count * len(sizes)).astype(np.int64)
    return sorted({int(order[place]) for place in places})
