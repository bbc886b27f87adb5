"""Phone GPUs: networks with the sums of their kernels, and the published kernels as ops."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import Any

from latency_model.features import FloatArray
from latency_model.ops import ConvSpec, DepthwiseConvSpec, LinearSpec, OpSpec, PoolSpec

_SHAPE = {"Input_shape", "Input_channel", "Output_shape", "Stride", "Kernel", "Filter", "Group"}


@dataclass(frozen=True, kw_only=True)
class PhoneNetworks:
    """Networks of which one phone's GPU has both the kernels and a latency.

    Attributes:
        column: of the tables, "pixel4|gpu|float"; a device of its own for each type.
        models: (n,) names.
        sums_ms: (n,) sum of the measured kernels; kernel_count: (n,); latency_ms: (n,) of the whole network.
    """

    column: str
    models: tuple[str, ...]
    sums_ms: FloatArray
    kernel_count: FloatArray
    latency_ms: FloatArray

    @property
    def device(self) -> str:
        name, _, data_type = self.column.rsplit("|", 2)
        return name if data_type == "float" else f"{name} {data_type}"

    def __len__(self) -> int:
        return len(self.models)


def numbers_of(feature: str) -> dict[str, int]:
    """The configuration of one kernel, as the table's column ``feature`` writes it or as JSON.

    Fields with a dash or without a number are left out.

    Raises:
        ValueError: no such text, or a field of the kernel's shape that is not whole.
    """
    try:
        fields = json.loads(feature)
    except json.JSONDecodeError:
        fields = ast.literal_eval(feature)
    numbers = {name: _whole(name, value) for name, value in fields.items() if name in _SHAPE}
    return {name: number for name, number in numbers.items() if number is not None}


def _whole(name: str, value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not number.is_integer():
        raise ValueError(f"{name} is {value!r}, no whole number")
    return int(number)


def op_of(operation: str, numbers: dict[str, int]) -> OpSpec | None:
    """The kernel as an op, without what is fused behind it; None for what no op describes.

    These are concatenations, and even windows, as ours pad symmetrically.

    Raises:
        KeyError: a field is missing.
        OpSpecError: a field is 0.
    """
    width = numbers["Input_channel"]
    match operation:
        case "FULLY_CONNECTED":
            return LinearSpec(in_features=width, out_features=numbers["Filter"])
        case "MEAN":
            return _mean_of_all(numbers)
        case "AVERAGE_POOL_2D" if numbers["Kernel"] == numbers["Input_shape"]:
            return _mean_of_all(numbers)
        case "CONV_2D" | "CONV_2D_GROUP" | "DEPTHWISE_CONV_2D" | "MAX_POOL_2D" | "AVERAGE_POOL_2D":
            is_even = numbers["Kernel"] % 2 == 0 and numbers["Kernel"] > 0  # none at all is no window
            return None if is_even else _windowed(operation, numbers)
        case _:
            return None


def _mean_of_all(numbers: dict[str, int]) -> PoolSpec:
    side = numbers["Input_shape"]
    return PoolSpec(in_channels=numbers["Input_channel"], in_height=side, in_width=side, pool="global_average")


def _windowed(operation: str, numbers: dict[str, int]) -> OpSpec:
    # The table counts padding that is a layer of its own to the input: ours is the output's side times the stride.
    side = numbers["Output_shape"] * numbers["Stride"]
    geometry = {"in_channels": numbers["Input_channel"], "in_height": side, "in_width": side}
    geometry |= {"kernel_size": numbers["Kernel"], "stride": numbers["Stride"]}
    match operation:
        case "DEPTHWISE_CONV_2D":
            return DepthwiseConvSpec(**geometry)
        case "MAX_POOL_2D":
            return PoolSpec(pool="max", **geometry)
        case "AVERAGE_POOL_2D":
            return PoolSpec(pool="average", **geometry)
        case _:
            return ConvSpec(out_channels=numbers["Filter"], groups=numbers.get("Group", 1), **geometry)
