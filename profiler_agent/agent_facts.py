"""What the agent tells of a device's state, checked before anything reckons with it or shows it."""

from __future__ import annotations

import math
import re
from typing import Any

# What became of a device file's wish for fixed clocks: Android took it, said no, or has no such command; every other
# fact is a number, or numbers in lists.
FIXED_PERFORMANCE_WORDS = ("on", "refused", "missing")
_KEY = re.compile("[a-z0-9_]{1,40}")
_MOST_FACTS = 64  # we write fifteen
_LONGEST_LIST = 64  # clusters, not cores
_LARGEST = 1 << 62
_LISTS = {"cpu_ticks": 1, "frequencies_khz": 1, "min_frequencies_khz": 1, "max_frequencies_khz": 1}
_TABLES = {"cluster_cores": 2, "found_limits_khz": 2, "working_frequencies_khz": 2}
_DEPTH = {**_LISTS, **_TABLES}


def are_facts(value: object) -> bool:
    """Whether this is the agent's object of facts: names that are safe to show, each number and list in its place."""
    return (
        isinstance(value, dict)
        and len(value) <= _MOST_FACTS
        and all(isinstance(key, str) and _KEY.fullmatch(key) and _is_fact(key, item) for key, item in value.items())
    )


def _is_fact(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key == "fixed_performance":
        return value in FIXED_PERFORMANCE_WORDS
    depth = _DEPTH.get(key, 0)
    return _is_list(value, depth) if depth else _is_number(value)


def _is_list(value: Any, depth: int) -> bool:
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        return False
    return all(item is None or (_is_list(item, depth - 1) if depth > 1 else _is_number(item)) for item in value)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= _LARGEST and math.isfinite(value)
