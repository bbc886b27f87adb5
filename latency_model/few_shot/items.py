"""Networks as bags of items, and the structure that latencies of items share across devices.

An item is an op at its place: an op of a space, or one candidate of one position. A network's latency is a sum
over its items plus a constant, on any device to a good approximation; so everything here stays an additive table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray, op_columns, op_costs
from latency_model.ops import FusedMBConvSpec, MBConvSpec, OpSpec

IntArray = npt.NDArray[np.int64]

# Natural-log prior of each group's scale: how much of a network's relative latency the group may
# explain before the samples speak. Set once on the published tasks; fresh splits confirm them.
PRIOR_LOG_SCALE = {
    "constant": 0.0,
    "sources": -1.0,
    "near_sources": -1.0,
    "mean_source": -2.0,
    "mean_source_by_class": -3.0,
    "mean_source_by_stage": -3.0,
    "costs": -3.0,
    "attributes": -3.0,
    "class_counts": -3.0,
    "stage_class_counts": -4.0,
    "items": -4.0,
}


@dataclass(frozen=True, kw_only=True)
class Items:
    """What is known of the items without any latency.

    Attributes:
        class_of: (items,) items of one class differ only in their place, such as "kernel 5, expansion 6".
        stage_of: (items,) items of one stage share their place, such as a resolution; None without stages.
        costs: (items, n) multiply-accumulates, bytes, kernels, ...; None where the ops are not known.
        attributes: (items, n) small numbers such as kernel size and expansion; None where there are none.
    """

    class_of: IntArray
    stage_of: IntArray | None = None
    costs: FloatArray | None = None
    attributes: FloatArray | None = None


@dataclass(frozen=True)
class FeatureGroup:
    """Columns that share one prior scale: (networks, columns), centred over the networks."""

    name: str
    columns: FloatArray

    @property
    def prior_log_scale(self) -> float:
        return PRIOR_LOG_SCALE[self.name]


def bag_of_ops(networks: Sequence[Sequence[OpSpec]]) -> tuple[FloatArray, tuple[OpSpec, ...]]:
    """(networks, items) how often each distinct op stands in each network, and the ops."""
    ops = tuple(dict.fromkeys(op for network in networks for op in network))
    column = {op: index for index, op in enumerate(ops)}
    counts = np.zeros((len(networks), len(ops)))
    for row, network in enumerate(networks):
        for op in network:
            counts[row, column[op]] += 1
    return counts, ops


def bag_of_choices(choices: IntArray) -> FloatArray:
    """(networks, positions * candidates) indicators of (networks, positions) choices."""
    candidate_count = int(choices.max()) + 1
    return np.asarray(np.eye(candidate_count)[choices].reshape(len(choices), -1))


def items_of_ops(ops: Sequence[OpSpec]) -> Items:
    """Classes by kind, kernel, expansion and stride; stages by resolution; costs on paper."""
    columns = op_columns(ops)
    costs = op_costs(columns)
    expansion = np.array([op.expansion if isinstance(op, MBConvSpec | FusedMBConvSpec) else 0.0 for op in ops])
    kernel = columns["kernel_size"]
    classes = list(zip(columns.kind, kernel, expansion.round(2), columns["stride"], columns.activation, strict=True))
    return Items(
        class_of=_codes(classes),
        stage_of=_codes(list(columns["in_height"])),
        costs=np.column_stack(
            [
                costs.dense_macs,
                costs.depthwise_macs,
                costs.activation_bytes,
                costs.weight_bytes,
                costs.kernel_count,
                costs.widest_values,
            ]
        ),
        attributes=np.column_stack([kernel, expansion, kernel * expansion, np.ones(len(ops))]),
    )


def feature_groups(counts: FloatArray, items: Items, source_tables: FloatArray) -> list[FeatureGroup]:
    """The columns of the structured Gaussian process, for all networks of a pool.

    Args:
        counts: (networks, items).
        source_tables: (sources, items) relative contribution of each item on each source device, so that
            ``counts @ source_tables.T`` is a source's latency as a share of its mean, up to a constant.
    """
    classes = np.eye(int(items.class_of.max()) + 1)[items.class_of]
    groups = [FeatureGroup("constant", np.ones((len(counts), 1)))]
    if len(source_tables):
        groups += _source_groups(counts, items, classes, source_tables)
    if items.costs is not None:
        groups.append(FeatureGroup("costs", _standardised(counts @ items.costs)))
    if items.attributes is not None:
        groups.append(FeatureGroup("attributes", _standardised(counts @ items.attributes)))
    if items.stage_of is not None:
        stage_class = np.unique(np.column_stack([items.stage_of, items.class_of]), axis=0, return_inverse=True)[1]
        groups.append(FeatureGroup("stage_class_counts", _scaled(counts @ np.eye(stage_class.max() + 1)[stage_class])))
    groups.append(FeatureGroup("class_counts", _scaled(counts @ classes)))
    groups.append(FeatureGroup("items", _scaled(counts)))
    return groups


def _source_groups(
    counts: FloatArray, items: Items, classes: FloatArray, source_tables: FloatArray
) -> list[FeatureGroup]:
    """Sources as they are, and their mean profile, re-weighted by class of item and by stage."""
    by_source = _centred(counts @ source_tables.T)
    spread = by_source.std(axis=0)
    profile = (source_tables / np.where(spread > 0, spread, 1.0)[:, None]).mean(axis=0)
    groups = [
        FeatureGroup("sources", by_source / np.sqrt(len(source_tables))),
        FeatureGroup("mean_source", _centred(counts @ profile[:, None])),
        FeatureGroup("mean_source_by_class", _centred(counts @ (profile[:, None] * classes))),
    ]
    if items.stage_of is not None:
        stages = np.eye(int(items.stage_of.max()) + 1)[items.stage_of]
        groups.append(FeatureGroup("mean_source_by_stage", _centred(counts @ (profile[:, None] * stages))))
    return groups


def source_table(counts: FloatArray, latency_ms: FloatArray, ridge: float = 1.0) -> FloatArray:
    """(items,) relative contributions of the items on a device, by ridge on its measured networks."""
    level = latency_ms.mean()
    centred = _centred(counts)
    gram = centred.T @ centred + ridge * np.eye(counts.shape[1])
    return np.asarray(np.linalg.solve(gram, centred.T @ (latency_ms / level - 1.0)))


def _codes(labels: Sequence[object]) -> IntArray:
    code = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return np.array([code[label] for label in labels], dtype=np.int64)


def _centred(columns: FloatArray) -> FloatArray:
    return np.asarray(columns - columns.mean(axis=0))


def _scaled(columns: FloatArray) -> FloatArray:
    """Centred, with one scale for all columns: rare ones stay small."""
    centred = _centred(columns)
    spread = float(centred.std())
    return np.asarray(centred / ((spread or 1.0) * np.sqrt(columns.shape[1])))


def _standardised(columns: FloatArray) -> FloatArray:
    """Centred, each column with its own scale; columns that never change are dropped."""
    centred = _centred(columns)
    spread = centred.std(axis=0)
    kept = spread > 1e-9 * np.abs(columns).max(axis=0).clip(min=1e-300)
    if not kept.any():
        return np.zeros((len(columns), 1))
    return np.asarray(centred[:, kept] / spread[kept] / np.sqrt(kept.sum()))
