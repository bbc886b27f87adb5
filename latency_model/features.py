"""Ops as numbers: their fields and what they cost on paper, computed for many ops at once.

A search asks for the latency of many thousand ops; so the columns are numpy arrays and the cost formulas of
``latency_model.kernels`` are written a second time over arrays. A test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from latency_model.kernels import ACTIVATION_BYTES, BIAS_BYTES, WEIGHT_BYTES
from latency_model.ops import (
    Activation,
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)

FloatArray = npt.NDArray[np.float64]

KINDS: tuple[type[OpSpec], ...] = get_args(OpSpec)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
DTYPES: tuple[str, ...] = get_args(Dtype)

FIELDS = (
    "batch",
    "in_channels",
    "in_height",
    "in_width",
    "out_channels",
    "kernel_size",
    "stride",
    "groups",
    "expand_channels",
    "squeeze_channels",
    "has_residual",
    "dilation",
)
_OPTIONAL = {"squeeze_channels"}
# What a kind's own field is called where the common name differs, and what stands for a field it lacks.
_RENAMED: dict[type[Any], dict[str, str]] = {LinearSpec: {"in_channels": "in_features", "out_channels": "out_features"}}
_ABSENT = {
    "in_height": 1,
    "in_width": 1,
    "kernel_size": 1,
    "stride": 1,
    "groups": 1,
    "dilation": 1,
    "expand_channels": 0,
    "squeeze_channels": 0,
    "has_residual": 0,
}


@dataclass(frozen=True)
class OpCosts:
    """What each op costs on paper; every array is (ops,)."""

    dense_macs: FloatArray
    depthwise_macs: FloatArray
    elementwise_values: FloatArray
    activation_bytes: FloatArray
    weight_bytes: FloatArray
    kernel_count: FloatArray
    widest_values: FloatArray

    @property
    def macs(self) -> FloatArray:
        return self.dense_macs + self.depthwise_macs

    @property
    def bytes_moved(self) -> FloatArray:
        return self.activation_bytes + self.weight_bytes


@dataclass(frozen=True)
class OpColumns:
    """The raw fields of many ops, one (ops,) array per field, with codes for kind, activation and dtype."""

    fields: dict[str, FloatArray]
    kind: npt.NDArray[np.int64]
    activation: npt.NDArray[np.int64]
    dtype: npt.NDArray[np.int64]

    def __getitem__(self, name: str) -> FloatArray:
        return self.fields[name]

    def of_kind(self, *kinds: type[Any]) -> npt.NDArray[np.bool_]:
        return np.isin(self.kind, [KINDS.index(kind) for kind in kinds])


def op_columns(ops: Sequence[OpSpec]) -> OpColumns:
    """Take the fields of the ops apart into columns; a field that a kind lacks gets its neutral value."""
    count = len(ops)
    fields = {name: np.zeros(count) for name in FIELDS}
    kind, activation, dtype = (np.zeros(count, dtype=np.int64) for _ in range(3))
    rows_of_kind: dict[type[OpSpec], list[int]] = {}
    for row, op in enumerate(ops):
        rows_of_kind.setdefault(type(op), []).append(row)
    for cls, row_list in rows_of_kind.items():
        rows = np.array(row_list)
        kind[rows] = KINDS.index(cls)
        _fill_rows(cls, [ops[row] for row in row_list], rows, fields, (activation, dtype))
    same_width = np.isin(kind, [KINDS.index(c) for c in KINDS if "out_channels" not in _names(c)])
    fields["out_channels"] = np.where(same_width, fields["in_channels"], fields["out_channels"])
    fields["out_height"] = np.ceil(fields["in_height"] / fields["stride"])
    fields["out_width"] = np.ceil(fields["in_width"] / fields["stride"])
    pooled = np.zeros(count, dtype=bool)
    for row in rows_of_kind.get(PoolSpec, []):
        op = ops[row]
        assert isinstance(op, PoolSpec)
        pooled[row] = op.pool == "global_average"
    for side in ("out_height", "out_width"):
        fields[side] = np.where(pooled, 1.0, fields[side])
    return OpColumns(fields=fields, kind=kind, activation=activation, dtype=dtype)


def _names(cls: type[Any]) -> set[str]:
    own = set(cls.__dataclass_fields__)
    return own | set(_RENAMED.get(cls, {}))


def _fill_rows(
    cls: type[OpSpec],
    ops: list[OpSpec],
    rows: npt.NDArray[np.int64],
    fields: dict[str, FloatArray],
    codes: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> None:
    renamed = _RENAMED.get(cls, {})
    present = [name for name in FIELDS if name in _names(cls)]
    codes[1][rows] = _codes(DTYPES, "dtype", ops)
    for name in present:
        values: Iterator[float | None] = map(attrgetter(renamed.get(name, name)), ops)  # tuples would take longer
        if name in _OPTIONAL:
            values = (value or 0 for value in values)
        fields[name][rows] = np.fromiter(values, dtype=np.float64, count=len(ops))
    for name in set(_ABSENT) - set(present):
        fields[name][rows] = _ABSENT[name]
    if "activation" in cls.__dataclass_fields__:
        codes[0][rows] = _codes(ACTIVATIONS, "activation", ops)


def _codes(choices: tuple[str, ...], name: str, ops: list[OpSpec]) -> npt.NDArray[np.int64]:
    code = {choice: index for index, choice in enumerate(choices)}
    return np.fromiter(map(code.__getitem__, map(attrgetter(name), ops)), dtype=np.int64, count=len(ops))


def op_costs(columns: OpColumns) -> OpCosts:
    """Multiply-accumulates, bytes and kernels of each op; the array form of ``latency_model.kernels``."""
    c = columns.fields
    batch, window = c["batch"], c["kernel_size"] ** 2
    in_values = batch * c["in_height"] * c["in_width"] * c["in_channels"]
    out_pixels = batch * c["out_height"] * c["out_width"]
    out_values = out_pixels * c["out_channels"]
    parts = _Parts(columns)
    plain = columns.of_kind(ConvSpec)
    parts.add_conv(plain, in_values, out_pixels, c["in_channels"] / c["groups"] * window, c["out_channels"])
    parts.add_conv(columns.of_kind(LinearSpec), in_values, batch, c["in_channels"], c["out_channels"])
    parts.add_depthwise(columns.of_kind(DepthwiseConvSpec), in_values, out_values, window, c["in_channels"])
    for element_kind, reads in ((AddSpec, 2), (ActivationSpec, 1), (PoolSpec, 1), (PadChannelsSpec, 1)):
        parts.add_elementwise(columns.of_kind(element_kind), reads * in_values, out_values)
    parts.add_squeeze(columns.of_kind(SqueezeExciteSpec), in_values, batch, c["in_channels"], c["squeeze_channels"])
    separable, middle_values = columns.of_kind(SeparableConvSpec), out_pixels * c["in_channels"]
    parts.add_depthwise(separable, in_values, middle_values, window, c["in_channels"])
    parts.add_conv(separable, middle_values, out_pixels, c["in_channels"], c["out_channels"])
    _add_blocks(columns, parts, in_values, out_pixels, window)
    return parts.costs(np.maximum(in_values, out_values))


class _Parts:
    """Sums of the costs of the kernels seen so far."""

    def __init__(self, columns: OpColumns) -> None:
        count = len(columns.kind)
        self.activation_size = np.array([ACTIVATION_BYTES[name] for name in DTYPES])[columns.dtype]
        self.weight_size = np.array([WEIGHT_BYTES[name] for name in DTYPES])[columns.dtype]
        self.bias_size = np.array([BIAS_BYTES[name] for name in DTYPES])[columns.dtype]
        self.dense, self.depthwise, self.elementwise = np.zeros(count), np.zeros(count), np.zeros(count)
        self.values, self.weights, self.biases = np.zeros(count), np.zeros(count), np.zeros(count)
        self.kernels, self.widest = np.zeros(count), np.zeros(count)

    def add_conv(
        self,
        rows: npt.NDArray[np.bool_],
        in_values: FloatArray,
        out_pixels: FloatArray,
        fan_in: FloatArray,
        width: FloatArray,
    ) -> None:
        """A dense convolution or linear layer: every output value reads ``fan_in`` weights."""
        self.dense += rows * out_pixels * width * fan_in
        self._add(rows, in_values + out_pixels * width, fan_in * width, width)

    def add_depthwise(
        self,
        rows: npt.NDArray[np.bool_],
        in_values: FloatArray,
        out_values: FloatArray,
        window: FloatArray,
        width: FloatArray,
    ) -> None:
        self.depthwise += rows * out_values * window
        self._add(rows, in_values + out_values, window * width, width)

    def add_elementwise(self, rows: npt.NDArray[np.bool_], in_values: FloatArray, out_values: FloatArray) -> None:
        self.elementwise += rows * in_values
        self._add(rows, in_values + out_values, np.zeros_like(in_values), np.zeros_like(in_values))

    def add_squeeze(
        self,
        rows: npt.NDArray[np.bool_],
        in_values: FloatArray,
        batch: FloatArray,
        width: FloatArray,
        few: FloatArray,
    ) -> None:
        """Squeeze-excite as one kernel: its input is read twice (pool, product)."""
        self.dense += rows * batch * 2 * width * few
        self.elementwise += rows * 2 * in_values
        self._add(rows, 3 * in_values, 2 * width * few, width + few)

    def _add(self, rows: npt.NDArray[np.bool_], values: FloatArray, weights: FloatArray, biases: FloatArray) -> None:
        self.values += rows * values
        self.weights += rows * weights
        self.biases += rows * biases
        self.kernels += rows

    def costs(self, edge_values: FloatArray) -> OpCosts:
        return OpCosts(
            dense_macs=self.dense,
            depthwise_macs=self.depthwise,
            elementwise_values=self.elementwise,
            activation_bytes=self.values * self.activation_size,
            weight_bytes=self.weights * self.weight_size + self.biases * self.bias_size,
            kernel_count=self.kernels,
            widest_values=np.maximum(self.widest, edge_values),
        )


def _add_blocks(
    columns: OpColumns,
    parts: _Parts,
    in_values: FloatArray,
    out_pixels: FloatArray,
    window: FloatArray,
) -> None:
    """The kernels of MBConv and FusedMBConv blocks, in the order of ``kernels_of``."""
    c = columns.fields
    inverted, fused = columns.of_kind(MBConvSpec), columns.of_kind(FusedMBConvSpec)
    blocks, wide = inverted | fused, c["expand_channels"]
    in_pixels = c["batch"] * c["in_height"] * c["in_width"]
    expanded = inverted & (wide != c["in_channels"])
    parts.add_conv(expanded, in_values, in_pixels, c["in_channels"], wide)
    parts.add_depthwise(inverted, in_pixels * wide, out_pixels * wide, window, wide)
    parts.add_conv(fused, in_values, out_pixels, c["in_channels"] * window, wide)
    squeezed = blocks & (c["squeeze_channels"] > 0)
    parts.add_squeeze(squeezed, out_pixels * wide, c["batch"], wide, c["squeeze_channels"])
    parts.add_conv(blocks, out_pixels * wide, out_pixels, wide, c["out_channels"])
    out_values = out_pixels * c["out_channels"]
    parts.add_elementwise(blocks & (c["has_residual"] > 0), 2 * out_values, out_values)
    parts.widest = np.where(inverted, in_pixels * wide, np.where(fused, out_pixels * wide, 0.0))


def edge_values(ops: Sequence[OpSpec]) -> FloatArray:
    """(ops,) values that enter and leave each op: what a layout change at its edges would move."""
    c = op_columns(ops).fields
    entering = c["in_channels"] * c["in_height"] * c["in_width"]
    leaving = c["out_channels"] * c["out_height"] * c["out_width"]
    return np.asarray(c["batch"] * (entering + leaving))


def is_free(ops: Sequence[OpSpec]) -> npt.NDArray[np.bool_]:
    """(ops,) whether an op costs nothing: ``ZeroSpec`` by definition, ``IdentitySpec`` as no file holds it."""
    return np.array([isinstance(op, IdentitySpec | ZeroSpec) for op in ops], dtype=bool)
