"""A published block table of which some lines may be damaged: whole blocks are left out, by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.public_files import positive_number
from latency_model.errors import LatencyModelError
from latency_model.op_timings import OpTimings
from latency_model.readers import read_yaml_table
from latency_model.readers.yaml_table import op_of_key, yaml_table


def read_table(path: Path) -> tuple[OpTimings, list[str]]:
    """The table, and what is wrong with each block that was left out.

    Raises:
        LatencyModelError: nothing that is left is a table.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    kept: list[str] = []
    wrong: list[str] = []
    seen: set[str] = set()
    is_once_for_all = "-se:" in text
    for line, block in _blocks(text):
        problem = _problem(block, is_once_for_all)
        names = set() if problem else {str(name) for name in yaml.safe_load(block) or ()}
        if repeated := sorted(names & seen):
            problem = f"{repeated[0]} stands twice; the first is used"
        seen |= names
        if problem is None:
            kept.append(block)
        else:
            kept.append("\n" * block.count("\n"))  # the lines below keep their numbers
            wrong.append(f"line {line}: {problem}")
    if not wrong or not "".join(kept).strip():
        return read_yaml_table(path), []
    return yaml_table("".join(kept), path), wrong


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Each line that is not indented, with the indented ones below it, and its number."""
    start, block = 1, ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if block and line.strip() and not line[0].isspace():
            yield start, block
            start, block = number, ""
        block += line
    if block.strip():
        yield start, block


def _problem(block: str, is_once_for_all: bool) -> str | None:
    try:
        read = yaml.safe_load(block)
    except yaml.YAMLError as error:
        return f"no YAML ({str(error).splitlines()[0]})"
    if read is None:
        return None  # a comment
    if not isinstance(read, dict) or len(read) != 1:
        return f"no block: {block.strip()[:40]!r}"
    ((key, row),) = read.items()
    try:
        op_of_key(str(key), is_once_for_all)
    except (LatencyModelError, LookupError, ValueError, ArithmeticError) as error:
        return f"{str(key)[:40]!r}: {error}"
    if (
        not isinstance(row, dict)
        or positive_number(row.get("mean")) is None
        or (positive_number(row.get("count")) or 0) < 1
    ):
        return f"no mean and count in {str(key)[:40]!r}"
    spread = row.get("std", row.get("var"))
    if spread != 0 and positive_number(spread) is None:
        return f"no std or var in {str(key)[:40]!r}"
    # YAML lets a later value win: when the line of a key is lost, its numbers would become those of the block above.
    fields = re.findall(r"^\s+(\w+):", block, flags=re.MULTILINE)
    return f"two blocks in {str(key)[:40]!r}" if len(fields) > len(set(fields)) else None
