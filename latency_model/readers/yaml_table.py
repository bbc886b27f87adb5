"""The block latency tables that the ProxylessNAS and Once-for-All authors published as YAML.

A key names a block, such as ``expanded_conv-input:14x14x80-output:14x14x96-expand:3-kernel:5-stride:1-idskip:0``;
Once-for-All adds ``-se:1-hs:1`` and writes the expanded width where ProxylessNAS writes the ratio.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from latency_model.errors import MeasurementError
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import Activation, ConvSpec, LinearSpec, MBConvSpec, OpSpec, OpSpecError, PoolSpec
from latency_model.readers.units import Unit, to_milliseconds
from latency_model.readers.widths import squeezed_width


class _NoRepeats(yaml.SafeLoader):
    """YAML in which a block stands once: of two, the last would be taken and the other silently lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml_table(path: Path, unit: Unit | None = None) -> OpTimings:
    """Read a published table.

    Args:
        unit: of the file's means; without it they must look like milliseconds.
    Raises:
        MeasurementError: no such file, no such table, or values that are no latencies or in another unit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MeasurementError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise MeasurementError(f"{path} is no YAML: {error}") from error
    return yaml_table(text, path, unit)


def yaml_table(text: str, path: Path, unit: Unit | None = None) -> OpTimings:
    """The table that stands in a text; errors name the file that it came from.

    Raises:
        MeasurementError: no such table, or values that are no latencies or in another unit.
    """
    try:
        data = yaml.load(text, Loader=_NoRepeats)
    except yaml.YAMLError as error:
        raise MeasurementError(f"{path} is no YAML: {error}") from error
    if not isinstance(data, dict) or not data:
        raise MeasurementError(f"{path} holds no table: expected blocks with mean and count.")
    is_once_for_all = any("-se:" in str(key) for key in data)
    try:
        rows = [_row(str(key), row, is_once_for_all) for key, row in data.items()]
    except ValueError as error:
        raise MeasurementError(f"{path}: {error}. Expected a ProxylessNAS or Once-for-All latency table.") from error
    try:
        latency_ms = to_milliseconds([op for op, _, _ in rows], [mean for _, mean, _ in rows], unit)
    except MeasurementError as error:
        raise MeasurementError(f"{path}: {error}") from error
    return pooled_timings((op, float(ms), error) for (op, _, error), ms in zip(rows, latency_ms, strict=True))


def _row(key: str, row: Any, is_once_for_all: bool) -> tuple[OpSpec, float, float]:
    """One block: its op, mean and relative error. ValueErrors name the block."""
    try:
        if not isinstance(row, dict):
            raise TypeError(f"it is {row!r}, not mean and count")
        return op_of_key(key, is_once_for_all), *_mean_and_error(row)
    except KeyError as error:
        raise ValueError(f"{key} has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error


def _mean_and_error(row: dict[str, Any]) -> tuple[float, float]:
    """Mean, and the standard error of the mean as a share of it."""
    if any(isinstance(value, bool) for value in row.values()):
        raise ValueError("it holds a yes or no where a number belongs")
    mean, count = float(row["mean"]), int(row["count"])
    if count < 1:
        raise ValueError(f"count is {count}; a mean is of one run or more")
    deviation = float(row["std"]) if "std" in row else math.sqrt(float(row["var"]))
    if not (math.isfinite(deviation) and deviation >= 0):
        raise ValueError(f"the spread is {deviation:g}; it is 0 or more")
    return mean, deviation / math.sqrt(count) / mean if mean > 0 else math.nan


def op_of_key(key: str, is_once_for_all: bool) -> OpSpec:
    """The op that a key names.

    Raises:
        OpSpecError: a key of another form.
    """
    kind, *parts = key.rstrip(":").split("-")
    fields = dict(part.split(":", 1) for part in parts if ":" in part)
    make = _MAKERS.get(kind)
    if make is None or "input" not in fields:
        raise OpSpecError(f"unknown block {key!r}")
    op = make(fields, is_once_for_all)
    _check_all_is_read(kind, fields, op)
    return op


def _check_all_is_read(kind: str, fields: dict[str, str], op: OpSpec) -> None:
    """Refuse what these tables do not have, or what would make it another block: an op is never half read."""
    known = _BLOCK_FIELDS if kind == "expanded_conv" else _OUTER_FIELDS
    if unknown := sorted(fields.keys() - known):
        raise OpSpecError(f"unknown field {', '.join(unknown)}")
    for name in _FLAGS & fields.keys():
        if fields[name] not in ("0", "1"):
            raise OpSpecError(f"{name} is {fields[name]!r}; it is 0 or 1")
    _, channels, *sides = op.output_shape
    expected, flat = "x".join(map(str, (*sides, channels))), "1x1x"  # after a pool tables write either
    if fields["output"].removeprefix(flat) != expected.removeprefix(flat):
        raise OpSpecError(f"its output is {fields['output']}; by its input and stride it is {expected}")


def _shape(text: str) -> tuple[int, int, int]:
    try:
        height, width, channels = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise OpSpecError(f"{text!r} is no height x width x channels") from error
    if min(height, width, channels) < 1:
        raise OpSpecError(f"a side or width of {text} is below 1")
    return height, width, channels


def _first_conv(fields: dict[str, str], is_once_for_all: bool) -> OpSpec:
    height, width, channels = _shape(fields["input"])
    out_height, _, out = _shape(fields["output"])
    return ConvSpec(
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=out,
        kernel_size=3,
        stride=-(-height // out_height),
        activation=_outer_activation(is_once_for_all),
    )


def _pointwise(fields: dict[str, str], is_once_for_all: bool) -> OpSpec:
    height, width, channels = _shape(fields["input"])
    out, activation = _shape(fields["output"])[2], _outer_activation(is_once_for_all)
    if height == width == 1:  # after the pool: a fully connected layer
        return LinearSpec(in_features=channels, out_features=out, activation=activation)
    return ConvSpec(
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=out,
        kernel_size=1,
        activation=activation,
    )


def _block(fields: dict[str, str], is_once_for_all: bool) -> OpSpec:
    height, width, channels = _shape(fields["input"])
    expand = int(fields["expand"]) if is_once_for_all else int(fields["expand"]) * channels
    activation: Activation = "relu6"
    if is_once_for_all:
        activation = "hswish" if fields["hs"] == "1" else "relu"
    return MBConvSpec(
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=_shape(fields["output"])[2],
        expand_channels=expand,
        kernel_size=int(fields["kernel"]),
        stride=int(fields["stride"]),
        squeeze_channels=squeezed_width(expand) if fields.get("se") == "1" else None,
        activation=activation,
        has_residual=fields["idskip"] == "1",
    )


def _pool(fields: dict[str, str], _: bool) -> OpSpec:
    height, width, channels = _shape(fields["input"])
    return PoolSpec(in_channels=channels, in_height=height, in_width=width, pool="global_average")


def _linear(fields: dict[str, str], _: bool) -> OpSpec:
    return LinearSpec(in_features=math.prod(_shape(fields["input"])[2:]), out_features=int(fields["output"]))


def _outer_activation(is_once_for_all: bool) -> Activation:
    return "hswish" if is_once_for_all else "relu6"


_OUTER_FIELDS = frozenset({"input", "output"})
_FLAGS = frozenset({"idskip", "se", "hs"})
_BLOCK_FIELDS = _OUTER_FIELDS | _FLAGS | {"expand", "kernel", "stride"}
_MAKERS: dict[str, Callable[[dict[str, str], bool], OpSpec]] = {
    "Conv": _first_conv,
    "Conv_1": _pointwise,
    "Conv_2": _pointwise,
    "expanded_conv": _block,
    "AvgPool2D": _pool,
    "Logits": _linear,
}
