"""The public data sets as arrays; what a folder does not hold is said, never made up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray, op_columns, op_costs
from latency_model.few_shot.items import Items
from latency_model.ops import ConvSpec, DepthwiseConvSpec, OpSpec

IntArray = npt.NDArray[np.int64]
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"

_FBNET_KERNELS = (3, 3, 3, 3, 5, 5, 5, 5, 0)
_FBNET_EXPANSIONS = (1, 1, 3, 6, 1, 1, 3, 6, 0)
_FBNET_GROUPS = (1, 2, 1, 1, 1, 2, 1, 1, 0)
_FBNET_SKIP = 8
# (blocks, width, stride of the first) on 32-pixel images, as HW-NAS-Bench built them.
_FBNET_STAGES = ((1, 16, 1), (4, 24, 1), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
_NASBENCH201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@dataclass(frozen=True)
class PublicSpace:
    """Networks of one space, and their latency on many devices.

    Attributes:
        choices: (networks, positions) candidate of each position.
        latency_ms: per device (networks,); NaN where a device has no label.
    """

    name: str
    choices: IntArray
    items: Items
    latency_ms: dict[str, FloatArray]


def read_help_space(folder: Path, name: str) -> PublicSpace | None:
    """The networks and devices under ``help/<name>``; None where they are absent."""
    root = folder / "help" / name
    choices_file = root / ("arch.pt" if name == "fbnet" else "str_arch2idx.pt")
    if not choices_file.is_file():
        return None
    import torch  # noqa: PLC0415 - slow to import

    raw = torch.load(choices_file, weights_only=True)
    choices = np.array(raw, dtype=np.int64) if name == "fbnet" else _nasbench201_choices(raw)
    latency = {
        path.stem: _as_latency(torch.load(path, weights_only=True), len(choices))
        for path in sorted((root / "latency").glob("*.pt"))
    }
    items = fbnet_items() if name == "fbnet" else nasbench201_items()
    return PublicSpace(name, choices, items, {device: ms for device, ms in latency.items() if ms is not None})


def _as_latency(values: Sequence[float], count: int) -> FloatArray | None:
    latency = np.array(values, dtype=np.float64)
    if latency.shape != (count,):
        return None
    return np.where(np.isfinite(latency) & (latency > 0), latency, np.nan)


def _nasbench201_choices(index_of: dict[str, int]) -> IntArray:
    choices = np.zeros((len(index_of), 6), dtype=np.int64)
    for text, index in index_of.items():
        choices[index] = [_NASBENCH201_OPS.index(edge.split("~")[0]) for edge in re.findall(r"[a-z_0-9]+~\d", text)]
    return choices


def nasbench201_items() -> Items:
    return Items(class_of=np.tile(np.arange(len(_NASBENCH201_OPS)), 6))


def is_exact_sum(choices: IntArray, latency_ms: FloatArray) -> bool:
    """Whether labels are a table's sum instead of measurements: an additive fit leaves nothing."""
    counts = np.eye(int(choices.max()) + 1)[choices].reshape(len(choices), -1)
    known = np.isfinite(latency_ms)
    design = np.column_stack([counts[known], np.ones(known.sum())])
    solution, *_ = np.linalg.lstsq(design, latency_ms[known], rcond=None)
    residual = latency_ms[known] - design @ solution
    return bool(residual.std() < 1e-3 * latency_ms[known].std())


@cache
def fbnet_items() -> Items:
    """Nine candidates at each of 22 positions: their class, stage, costs on paper and small numbers."""
    costs, stages = [], []
    width, side = 16, 32
    for stage, (blocks, out, stride) in enumerate(_FBNET_STAGES):
        for block in range(blocks):
            step = stride if block == 0 else 1
            for candidate in range(len(_FBNET_KERNELS)):
                costs.append(_kernel_costs(_fbnet_kernels(candidate, width, out, side, step)))
                stages.append(stage)
            width, side = out, -(-side // step)
    candidates = np.tile(np.arange(len(_FBNET_KERNELS)), len(costs) // len(_FBNET_KERNELS))
    kernels, expansions = np.array(_FBNET_KERNELS)[candidates], np.array(_FBNET_EXPANSIONS)[candidates]
    grouped = np.array(_FBNET_GROUPS)[candidates] == 2
    return Items(
        class_of=candidates,
        stage_of=np.array(stages),
        costs=np.array(costs),
        attributes=np.column_stack(
            [kernels, expansions, kernels * expansions, grouped, candidates != _FBNET_SKIP]
        ).astype(np.float64),
    )


def _fbnet_kernels(candidate: int, width: int, out: int, side: int, stride: int) -> list[OpSpec]:
    geometry = {"in_height": side, "in_width": side}
    if candidate == _FBNET_SKIP:
        if width == out and stride == 1:
            return []
        return [ConvSpec(in_channels=width, out_channels=out, kernel_size=1, stride=stride, **geometry)]
    wide, groups = width * _FBNET_EXPANSIONS[candidate], _FBNET_GROUPS[candidate]
    after = {"in_height": -(-side // stride), "in_width": -(-side // stride)}
    return [
        ConvSpec(in_channels=width, out_channels=wide, kernel_size=1, groups=groups, activation="relu", **geometry),
        DepthwiseConvSpec(in_channels=wide, kernel_size=_FBNET_KERNELS[candidate], stride=stride, **geometry),
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
