"""nn-Meter's recipe as a baseline: one random forest for each type of kernel on its raw configuration, summed.

Features, merged types (an activation makes no type of its own) and forest settings are those of the released code
(microsoft/nn-Meter, ``predictor/prediction/extract_feature.py`` and ``kernel_predictor_builder``). Three differences,
all in its favour: grouped convolutions have a forest of their own, additions are not left out, and a type of kernel
without a forest is refused instead of counted as nothing. Source: Zhang et al., nn-Meter, MobiSys 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from latency_model.errors import UnknownOpError
from latency_model.features import FloatArray
from latency_model.kernels import macs, parameter_count
from latency_model.op_timings import OpTimings
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PoolSpec,
    SqueezeExciteSpec,
)

Processor = Literal["cpu", "gpu"]
_SEED = 10


@dataclass(frozen=True)
class KernelConfig:
    """A type of kernel, and the numbers that its forest sees."""

    kernel_type: str
    features: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ForestSettings:
    """``features_per_split`` is all of them where it is None."""

    tree_count: int
    depth: int
    features_per_split: int | None = None


_SETTINGS: dict[Processor, dict[str, ForestSettings]] = {
    "cpu": {
        "conv": ForestSettings(tree_count=320, depth=70, features_per_split=6),
        "depthwise": ForestSettings(tree_count=240, depth=50, features_per_split=6),
        "linear": ForestSettings(tree_count=370, depth=50, features_per_split=2),
    },
    "gpu": {
        "conv": ForestSettings(tree_count=550, depth=80, features_per_split=5),
        "depthwise": ForestSettings(tree_count=240, depth=40, features_per_split=7),
        "linear": ForestSettings(tree_count=330, depth=70, features_per_split=4),
    },
}
_OTHER_TYPES = ForestSettings(tree_count=370, depth=50)


def kernel_config(op: OpSpec) -> KernelConfig | None:
    """What the recipe sees of an op; None for a kind that it has no features for.

    Blocks are no kernels of nn-Meter's: where ops are blocks, each kind of block is a type with its expansion added.
    """
    match op:
        case ConvSpec(groups=1):
            return KernelConfig("conv", _windowed(op, op.out_channels))
        case ConvSpec():
            return KernelConfig("grouped conv", (*_windowed(op, op.out_channels), op.groups))
        case DepthwiseConvSpec():
            return KernelConfig("depthwise", _windowed(op, op.in_channels))
        case MBConvSpec() | FusedMBConvSpec():
            return KernelConfig(op.kind, (*_windowed(op, op.out_channels), op.expand_channels, op.has_residual))
        case LinearSpec():
            return KernelConfig("linear", (op.in_features, op.out_features, macs(op) / 1e6, parameter_count(op) / 1e6))
        case PoolSpec(pool="global_average"):
            return KernelConfig("global average", (op.in_height, op.in_channels))
        case PoolSpec():
            sizes = (op.in_height, op.in_channels, op.in_channels, op.kernel_size, op.stride)
            return KernelConfig(f"{op.pool} pool", sizes)
        case ActivationSpec():
            return KernelConfig(op.activation, (op.in_height, op.in_channels))
        case AddSpec() | SqueezeExciteSpec():
            return KernelConfig(op.kind, (op.in_height, op.in_channels))
        case _:
            return None


def _windowed(op: ConvSpec | DepthwiseConvSpec | MBConvSpec | FusedMBConvSpec, width: int) -> tuple[float, ...]:
    costs = (macs(op) / 1e6, parameter_count(op) / 1e6)
    return (op.in_height, op.in_channels, width, op.kernel_size, op.stride, *costs)


class KernelForests:
    """A forest for each type of kernel that was measured."""

    def __init__(self, forests: dict[str, Any], known: tuple[OpSpec, ...]) -> None:
        self._forests = forests
        self._known = known

    @classmethod
    def fit(cls, timings: OpTimings, processor: Processor) -> KernelForests:
        """Fit on single ops, absolute milliseconds, as the recipe does.

        Raises:
            UnknownOpError: an op of a kind that the recipe has no features for.
        """
        forests = {}
        for kernel_type, (rows, features) in _by_type(timings.ops, timings.ops).items():
            settings = _SETTINGS[processor].get(kernel_type, _OTHER_TYPES)
            forests[kernel_type] = _forest(settings).fit(features, timings.latency_ms[rows])
        return cls(forests, timings.ops)

    def predict_ms(self, ops: Sequence[OpSpec]) -> FloatArray:
        """(ops,) milliseconds.

        Raises:
            UnknownOpError: an op of a type that has no forest.
        """
        predicted = np.empty(len(ops))
        for kernel_type, (rows, features) in _by_type(ops, self._known).items():
            if kernel_type not in self._forests:
                unknown = [ops[row] for row in rows]
                raise UnknownOpError(unknown, self._known, f"no kernel of type {kernel_type!r} was measured.")
            predicted[rows] = self._forests[kernel_type].predict(features)
        return predicted


def _forest(settings: ForestSettings) -> Any:
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 - slow to import

    return RandomForestRegressor(
        n_estimators=settings.tree_count,
        max_depth=settings.depth,
        max_features=1.0 if settings.features_per_split is None else settings.features_per_split,
        random_state=_SEED,
    )


def _by_type(ops: Sequence[OpSpec], known: Sequence[OpSpec]) -> dict[str, tuple[list[int], FloatArray]]:
    """Rows and features of each type of kernel."""
    found: dict[str, tuple[list[int], list[tuple[float, ...]]]] = {}
    for row, op in enumerate(ops):
        config = kernel_config(op)
        if config is None:
            raise UnknownOpError([op], known, f"nn-Meter's recipe has no features for {op.kind!r}.")
        rows, features = found.setdefault(config.kernel_type, ([], []))
        rows.append(row)
        features.append(config.features)
    return {name: (rows, np.array(features, dtype=np.float64)) for name, (rows, features) in found.items()}
