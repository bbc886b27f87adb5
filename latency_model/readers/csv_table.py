"""Our own CSV: one op per row, a column per field, the latency and its relative error.

``op,latency_ms,relative_error,in_channels,...``: fields that an op lacks stay empty. The latency column names its
unit: latency_s, latency_ms, latency_us or latency_ns; a plain ``latency`` is read with the unit that the caller states.
What spreadsheets make of it is read too: a byte order mark, ; or tabs between fields, decimal commas beside ;, empty
rows, and whole numbers written as 16.0.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias, get_args

from latency_model.errors import MeasurementError
from latency_model.op_json import op_from_json
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import OpSpec
from latency_model.readers.units import Unit, to_milliseconds

_UNIT_OF_COLUMN: dict[str, Unit] = {f"latency_{unit}": unit for unit in get_args(Unit)}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_WHOLE = re.compile(r"-?\d+(\.0*)?")
_FLAGS = {"true": True, "false": False, "1": True, "0": False}

Row: TypeAlias = dict[str, str | None]


def read_csv_table(path: Path, unit: Unit | None = None) -> OpTimings:
    """Read a table; rows of one op are pooled.

    Raises:
        MeasurementError: no such file, a column or value that fits no op, or latencies that are none.
    """
    sheet = _read(path)
    column, stated = _latency_column(path, sheet.columns, unit)
    if "op" not in sheet.columns:
        raise MeasurementError(
            f"{path} has no column 'op' (it has {', '.join(sorted(sheet.columns))}): it is a table of another layout. "
            "Ours holds one op a row: op,latency_ms,relative_error and a column for each field of the op."
        )
    ops, values, errors = [], [], []
    for number, row in sheet.rows:
        try:
            ops.append(_op_of(row))
            values.append(_number(column, row[column]))
            errors.append(_relative_error(row))
        except (KeyError, TypeError, ValueError) as error:
            raise MeasurementError(f"{path}, line {number}: {error}") from error
    try:
        latency_ms = to_milliseconds(ops, values, stated)
    except MeasurementError as error:
        raise MeasurementError(f"{path}: {error}") from error
    return pooled_timings(zip(ops, map(float, latency_ms), errors, strict=True))


def csv_unit(path: Path) -> Unit | None:
    """The unit that the name of the latency column states; None where it states none.

    Raises:
        MeasurementError: no such file, or no latency column.
    """
    return _latency_column(path, _read(path).columns, None)[1]


@dataclasses.dataclass(frozen=True)
class _Sheet:
    """The columns of a file, and its rows that hold anything, each with the number of its line."""

    columns: frozenset[str]
    rows: list[tuple[int, Row]]


def _read(path: Path) -> _Sheet:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark first
            first, before = file.readline(), 1
            if first.lower().startswith("sep="):  # a spreadsheet's hint to itself; the next line shows it, too
                first, before = file.readline(), 2
            delimiter = next((sign for sign in ";\t" if sign in first and "," not in first), ",")
            reader = csv.DictReader(file, next(csv.reader([first], delimiter=delimiter), []), delimiter=delimiter)
            found = [(reader.line_num + before, _plain(row, delimiter)) for row in reader]
    except OSError as error:
        raise MeasurementError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise MeasurementError(f"{path} is no CSV text in UTF-8: {error}. Save it as UTF-8.") from error
    columns = [name.strip() for name in reader.fieldnames or ()]
    if repeated := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise MeasurementError(f"{path} names the column {repeated[0]!r} twice; keep one of them.")
    rows = [(number, row) for number, row in found if None in row or any(row.values())]
    if not rows:
        raise MeasurementError(f"{path} has no rows.")
    return _Sheet(frozenset(name for name in rows[0][1] if name is not None), rows)


def _plain(row: Row, delimiter: str) -> Row:
    """Without blanks around names and values; a comma beside another delimiter is a decimal one."""
    plain: Row = {}
    for name, text in row.items():
        value = text.strip() if isinstance(text, str) else text
        if isinstance(value, str) and delimiter == ";" and _DECIMAL_COMMA.fullmatch(value):
            value = value.replace(",", ".")
        plain[name.strip() if isinstance(name, str) else name] = value
    return plain


def _number(column: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise ValueError(f"{column} is {text!r}; it must be a number") from error


def _latency_column(path: Path, columns: frozenset[str], unit: Unit | None) -> tuple[str, Unit | None]:
    found = [column for column in (*_UNIT_OF_COLUMN, "latency") if column in columns]
    if len(found) != 1:
        has = f"it has {', '.join(found or sorted(columns))}"
        raise MeasurementError(f"{path} needs one latency column of {', '.join([*_UNIT_OF_COLUMN, 'latency'])}; {has}.")
    own = _UNIT_OF_COLUMN.get(found[0])
    if own is not None and unit is not None and own != unit:
        raise MeasurementError(f"{path} says {found[0]}, the caller {unit}; state one unit.")
    return found[0], own or unit


def _relative_error(row: Row) -> float:
    text = row.get("relative_error") or "0"
    value = _number("relative_error", text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"relative_error is {text}; it is a share of the latency, 0 or more. Leave it empty if unknown."
        )
    return value


def _op_of(row: Row) -> OpSpec:
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
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else text


def write_csv_table(timings: OpTimings, path: Path) -> None:
    """Write a table that ``read_csv_table`` reads back."""
    fields = list(dict.fromkeys(field.name for op in timings.ops for field in dataclasses.fields(op)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["op", "latency_ms", "relative_error", *fields], restval="")
        writer.writeheader()
        for op, latency, error in zip(timings.ops, timings.latency_ms, timings.relative_error, strict=True):
            row = {name: value for name, value in dataclasses.asdict(op).items() if value is not None}
            writer.writerow({"op": op.kind, "latency_ms": repr(float(latency)), "relative_error": float(error), **row})
