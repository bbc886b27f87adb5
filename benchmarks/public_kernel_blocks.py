"""Kernel lines that stand twice: a network whose lines start once more would be summed twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from benchmarks.public_files import CsvTable

_OPENING = 2  # kernels by which a block is known to start once more


def without_repeats(kernels: CsvTable) -> tuple[CsvTable, dict[int, str]]:
    """The table with the first block of each network alone, and for each line left out what is wrong with it.

    The lines of a network may be parted, as by a line that is damaged: they are a second block only where they open as
    the first one did, and right behind the first one only where they are its exact copy. A block of one line has no
    opening to be known by.
    """
    models = kernels.columns["model"]
    kernel_of = list(zip(kernels.columns["operation"], kernels.columns["feature"], strict=True))
    whole_of = list(zip(*kernels.columns.values(), strict=True))
    first: dict[str, list[int]] = {}
    repeated: dict[int, str] = {}
    for model, grouped in groupby(range(len(models)), key=lambda row: models[row]):
        rows = list(grouped)
        half = len(rows) // 2
        if len(rows) == 2 * half > _OPENING and _all_equal(whole_of, rows[:half], rows[half:]):
            rows, copies = rows[:half], rows[half:]
        else:
            copies = []
        known = first.setdefault(model, rows)
        if known is not rows and _all_equal(kernel_of, known[:_OPENING], rows[:_OPENING]) and len(known) >= _OPENING:
            copies = rows + copies
        for row in copies:
            repeated[kernels.lines[row]] = f"the block of {model!r} stands twice; the first is used"
    kept = [row for row, line in enumerate(kernels.lines) if line not in repeated]
    columns = {name: tuple(values[row] for row in kept) for name, values in kernels.columns.items()}
    return replace(kernels, columns=columns, lines=tuple(kernels.lines[row] for row in kept)), repeated


def _all_equal(values: list[tuple[str, ...]], left: list[int], right: list[int]) -> bool:
    return [values[row] for row in left] == [values[row] for row in right]
