"""What the agent tells of a device's state, checked before anything reckons with it or shows it."""

from __future__ import annotations

import math
import re
from typing import Any

# Facts that are words: what became of a device file's wish for fixed clocks (Android took it, said no, or has no such
# command), and what the battery does. Every other fact is a number, or numbers or plain words in lists.
_WORDS = {
    "fixed_performance": ("on", "refused", "missing"),
    "battery_status": ("charging", "discharging", "not_charging", "full"),
}
_WORD_LISTS = ("governors", "cooling_types")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_KEY = re.compile("[a-z0-9_]{1,40}")
_MOST_FACTS = 64  # we write twenty-two
_LONGEST_LIST = 512  # a cluster is a handful of cores on a phone and one on a server
_LARGEST = 1 << 62
_LISTS = ("cpu_ticks", "frequencies_khz", "min_frequencies_khz", "max_frequencies_khz", "cooling_states")
_TABLES = ("cluster_cores", "found_limits_khz", "working_frequencies_khz")
_DEPTH = {**dict.fromkeys(_LISTS, 1), **dict.fromkeys(_TABLES, 2)}


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
    if key in _WORDS:
        return value in _WORDS[key]
    if key in _WORD_LISTS:
        return isinstance(value, list) and len(value) <= _LONGEST_LIST and all(map(_is_word_or_none, value))
    depth = _DEPTH.get(key, 0)
    return _is_list(value, depth) if depth else _is_number(value)


def _is_list(value: Any, depth: int) -> bool:
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        return False
    return all(item is None or (_is_list(item, depth - 1) if depth > 1 else _is_number(item)) for item in value)


def _is_word_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _WORD.fullmatch(value) is not None)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= _LARGEST and math.isfinite(value)
