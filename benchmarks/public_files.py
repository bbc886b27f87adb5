"""What of a public file could not be used: said as a row of the benchmark, never passed over in silence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import Claim, at_least

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file of which only a part was used.

    Attributes:
        file: as it is named below the data folder.
        used, of: how many of its ``unit`` were used, of how many.
        what: what was found, by line or entry, and what was done about it.
    """

    file: str
    used: int
    of: int
    unit: str
    what: str

    def claim(self) -> Claim:
        note = f"{self.used} of {self.of}: {self.what}"
        return at_least(
            f"data {self.file}, {self.unit} used", self.used / max(self.of, 1), 1.0, unit="share", note=note
        )


@dataclass(frozen=True)
class Absent:
    """Data that a folder does not hold, or that cannot be read. ``why`` names the path."""

    why: str


@dataclass(frozen=True)
class CsvTable:
    """The lines of a CSV file that have as many fields as its header.

    Attributes:
        columns: per name of the header, one text per row.
        ambiguous: names that stand twice in the header, over columns that differ; in ``columns`` neither is.
        lines: (rows,) line of each row in the file, the header being line 1.
        problems: line and what is wrong with it.
    """

    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]
    problems: dict[int, str]
    ambiguous: tuple[str, ...] = ()


def read_csv(path: Path) -> CsvTable:
    """Read line by line, as one lone quote must not swallow the rest of the file. No field may hold a line break."""
    import csv  # noqa: PLC0415 - one user

    first, *others = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    header = next(csv.reader([first]), [])
    rows, lines, problems = [], [], {}
    for number, text in enumerate(others, start=2):
        if not text.strip():
            continue
        fields = next(csv.reader([text]), [])
        if len(fields) == len(header):
            rows.append(fields)
            lines.append(number)
        else:
            problems[number] = f"{len(fields)} fields instead of {len(header)}"
    columns: dict[str, set[tuple[str, ...]]] = {}
    for name, column in zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True):
        columns.setdefault(name, set()).add(column)
    return CsvTable(
        columns={name: next(iter(found)) for name, found in columns.items() if len(found) == 1},
        lines=tuple(lines),
        problems=problems,
        ambiguous=tuple(name for name, found in columns.items() if len(found) > 1),
    )


def positive_number(value: Any) -> float | None:
    """The value as a latency; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def in_words(problems: Sequence[str]) -> str:
    """The first problems, and how many more there are."""
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
