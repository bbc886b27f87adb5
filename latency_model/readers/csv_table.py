"""Our own CSV: one op per row, a column per field, the latency and its relative error.

``op,latency_ms,relative_error,in_channels,...``: fields that an op lacks stay empty. The latency column names its
unit: latency_s, latency_ms, latency_us or latency_ns; a plain ``latency`` is read with the unit that the caller states.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from latency_model.errors import MeasurementError
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import OpSpec, op_from_json
from latency_model.readers.units import Unit, to_milliseconds

_UNIT_OF_COLUMN: dict[str, Unit] = {f"latency_{unit}": unit for unit in get_args(Unit)}
_FLAGS = {"true": True, "false": False, "1": True, "0": False}


def read_csv_table(path: Path, unit: Unit | None = None) -> OpTimings:
    """Read a table; rows of one op are pooled.

    Raises:
        MeasurementError: no such file, a column or value that fits no op, or latencies that are none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark first
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise MeasurementError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise MeasurementError(f"{path} is no CSV text in UTF-8: {error}. Save it as UTF-8.") from error
    if not rows:
        raise MeasurementError(f"{path} has no rows.")
    column, stated = _latency_column(path, set(rows[0]), unit)
    ops, values, errors = [], [], []
    for number, row in enumerate(rows, start=2):
        try:
            ops.append(_op_of(row))
            values.append(float(row[column]))
            errors.append(_relative_error(row))
        except (KeyError, TypeError, ValueError) as error:
            raise MeasurementError(f"{path}, line {number}: {error}") from error
    latency_ms = to_milliseconds(ops, values, stated)
    return pooled_timings(zip(ops, map(float, latency_ms), errors, strict=True))


def _latency_column(path: Path, columns: set[str], unit: Unit | None) -> tuple[str, Unit | None]:
    found = [column for column in (*_UNIT_OF_COLUMN, "latency") if column in columns]
    if len(found) != 1:
        raise MeasurementError(f"{path} needs one latency column of {', '.join([*_UNIT_OF_COLUMN, 'latency'])}.")
    own = _UNIT_OF_COLUMN.get(found[0])
    if own is not None and unit is not None and own != unit:
        raise MeasurementError(f"{path} says {found[0]}, the caller {unit}; state one unit.")
    return found[0], own or unit


def _relative_error(row: dict[str, str | None]) -> float:
    text = row.get("relative_error") or "0"
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"relative_error is {text}; it is a share of the latency, 0 or more. Leave it empty if unknown."
        )
    return value


def _op_of(row: dict[str, str | None]) -> OpSpec:
    if None in row:
        # csv.DictReader keeps the fields beyond the header under None.
        raise ValueError("more fields than the header names. Quote fields that hold a comma.")
    skipped = {"relative_error", "latency", *_UNIT_OF_COLUMN}
    fields: dict[str, Any] = {
        name: _value(name, text) for name, text in row.items() if name not in skipped and text not in (None, "")
    }
    return op_from_json(fields)


def _value(name: str, text: str | None) -> Any:
    assert text is not None
    if name == "has_residual":
        if text.lower() not in _FLAGS:
            raise ValueError(f"has_residual is {text!r}; write one of {', '.join(_FLAGS)}.")
        return _FLAGS[text.lower()]
    convert: Callable[[str], Any] = int if text.lstrip("-").isdigit() else str
    return convert(text)


def write_csv_table(timings: OpTimings, path: Path) -> None:
    """Write a table that ``read_csv_table`` reads back."""
    fields = list(dict.fromkeys(field.name for op in timings.ops for field in dataclasses.fields(op)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["op", "latency_ms", "relative_error", *fields], restval="")
        writer.writeheader()
        for op, latency, error in zip(timings.ops, timings.latency_ms, timings.relative_error, strict=True):
            row = {name: value for name, value in dataclasses.asdict(op).items() if value is not None}
            writer.writerow({"op": op.kind, "latency_ms": repr(float(latency)), "relative_error": float(error), **row})
