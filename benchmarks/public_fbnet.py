"""The FBNet space of the public labels: nine candidates at each of 22 positions, and their costs on paper."""

from __future__ import annotations

from functools import cache

import numpy as np

from latency_model.features import op_columns, op_costs
from latency_model.few_shot.items import Items
from latency_model.ops import ConvSpec, DepthwiseConvSpec, OpSpec

_KERNELS = (3, 3, 3, 3, 5, 5, 5, 5, 0)
_EXPANSIONS = (1, 1, 3, 6, 1, 1, 3, 6, 0)
_GROUPS = (1, 2, 1, 1, 1, 2, 1, 1, 0)
_SKIP = 8
# (blocks, width, stride of the first) on 32-pixel images, as HW-NAS-Bench built them.
_STAGES = ((1, 16, 1), (4, 24, 1), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
FBNET_CANDIDATE_COUNT = len(_KERNELS)


@cache
def fbnet_items() -> Items:
    """Class, stage, costs on paper and small numbers of each candidate at each position."""
    costs, stages = [], []
    width, side = 16, 32
    for stage, (blocks, out, stride) in enumerate(_STAGES):
        for block in range(blocks):
            step = stride if block == 0 else 1
            for candidate in range(len(_KERNELS)):
                costs.append(_kernel_costs(_fbnet_kernels(candidate, width, out, side, step)))
                stages.append(stage)
            width, side = out, -(-side // step)
    candidates = np.tile(np.arange(len(_KERNELS)), len(costs) // len(_KERNELS))
    kernels, expansions = np.array(_KERNELS)[candidates], np.array(_EXPANSIONS)[candidates]
    grouped = np.array(_GROUPS)[candidates] == 2
    return Items(
        class_of=candidates,
        stage_of=np.array(stages),
        costs=np.array(costs),
        attributes=np.column_stack([kernels, expansions, kernels * expansions, grouped, candidates != _SKIP]).astype(
            np.float64
        ),
    )


def _fbnet_kernels(candidate: int, width: int, out: int, side: int, stride: int) -> list[OpSpec]:
    geometry = {"in_height": side, "in_width": side}
    if candidate == _SKIP:
        if width == out and stride == 1:
            return []
        return [ConvSpec(in_channels=width, out_channels=out, kernel_size=1, stride=stride, **geometry)]
    wide, groups = width * _EXPANSIONS[candidate], _GROUPS[candidate]
    after = {"in_height": -(-side // stride), "in_width": -(-side // stride)}
    return [
        ConvSpec(in_channels=width, out_channels=wide, kernel_size=1, groups=groups, activation="relu", **geometry),
        DepthwiseConvSpec(in_channels=wide, kernel_size=_KERNELS[candidate], stride=stride, **geometry),
        ConvSpec(in_channels=wide, out_channels=out, kernel_size=1, groups=groups, **after),
    ]


def _kernel_costs(kernels: list[OpSpec]) -> list[float]:
    if not kernels:
        return [0.0] * 6
    costs = op_costs(op_columns(kernels))
    return [
        float(costs.dense_macs.sum()),
        float(costs.depthwise_macs.sum()),
        float(costs.activation_bytes.sum()),
        float(costs.weight_bytes.sum()),
        float(costs.kernel_count.sum()),
        float(costs.widest_values.max()),
    ]
