"""Phones of one model that are two devices: what three networks of the new one are worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.claims import Claim, at_most, not_measured
from benchmarks.public_additive import agrees_throughout
from benchmarks.public_files import Absent, LeftOut, in_words, positive_number
from latency_model.features import FloatArray

_FITTED = 3
_LEAST_JUDGED = 10
# The public pairs reach .84 in their worst fifth; when one loses a line, its twentieth from the end, .56.
_ALIKE = 0.7
_MOST_APART = 2.0  # units of one model; the public ones are within a tenth of each other
_LEAST_RUNS = 3  # the first is a warm-up


@dataclass(frozen=True)
class PhoneRuns:
    """Per phone the (networks,) median run in ms, the first run left out; NaN where a line is of no use."""

    folder: Path
    latency_ms: dict[str, FloatArray]
    left_out: tuple[LeftOut, ...]


def read_phone_runs(folder: Path) -> PhoneRuns | Absent:
    """Read ``iitm_phones/cpu``. Rows are networks, in one order for all phones."""
    root = folder / "iitm_phones" / "cpu"
    paths = sorted(path for path in root.glob("*") if path.suffix.lower() == ".txt")
    if not paths:
        return Absent(f"no {root}/*.txt")
    latency_ms, problems = {}, {}
    file_of = {path.stem: path.name for path in paths}
    for path in paths:
        latency_ms[path.stem], problems[path.stem] = _medians(path)
    usual = Counter(map(len, latency_ms.values())).most_common(1)[0][0]
    left_out = []
    for phone, values in latency_ms.items():
        what = [f"{in_words(problems[phone])}; left out"] if problems[phone] else []
        if len(values) != usual:
            what.append(
                f"{len(values)} lines where most phones have {usual}; compared with another unit as far as both go, "
                "if both rank alike throughout"
            )
        if what:
            left_out.append(
                LeftOut(
                    file=f"iitm_phones/cpu/{file_of[phone]}",
                    used=int(np.isfinite(values[:usual]).sum()),
                    of=max(len(values), usual),
                    unit="lines",
                    what=". ".join(what),
                )
            )
    return PhoneRuns(root, latency_ms, tuple(left_out))


def unit_claims(phones: PhoneRuns | Absent) -> Iterator[Claim]:
    """Another unit of a known phone model: one factor from three networks, against taking it for the same."""
    claim = "another unit of one model, MAPE with three networks over uncorrected"
    if isinstance(phones, Absent):
        yield not_measured(claim, "<= 1", phones.why)
        return
    same_name: dict[str, list[str]] = {}
    for phone in phones.latency_ms:
        same_name.setdefault(re.sub(r"_\d+$", "", phone), []).append(phone)
    before, after, paired, left_out = [], [], [], []
    for one, other in (pair for units in same_name.values() for pair in combinations(units, 2)):
        one_ms, other_ms = _of_both(phones.latency_ms[one], phones.latency_ms[other])
        why_not = _why_not_compared(one_ms, other_ms)
        if why_not is not None:
            left_out.append(f"{one} and {other} {why_not}")
            continue
        paired.append(f"{one} and {other}")
        for source, truth in ((one_ms, other_ms), (other_ms, one_ms)):
            for seed in range(5):
                order = np.random.default_rng(seed).permutation(len(truth))
                factor = float(np.median(truth[order[:_FITTED]] / source[order[:_FITTED]]))
                rest = order[_FITTED:]
                before.append(float(np.mean(np.abs(source[rest] / truth[rest] - 1))))
                after.append(float(np.mean(np.abs(factor * source[rest] / truth[rest] - 1))))
    lacking = in_words(left_out)
    if not paired:
        yield not_measured(claim, "<= 1", lacking or f"no two units of one model in {phones.folder}")
        return
    yield at_most(
        claim,
        float(np.mean(after) / np.mean(before)),
        1.0,
        unit="ratio",
        note=f"{2 * len(paired)} ordered pairs ({in_words(paired)}); {np.mean(before):.1%} -> {np.mean(after):.1%}"
        + (f"; left out: {lacking}" if lacking else ""),
    )


def _of_both(known_ms: FloatArray, new_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The networks that both phones have a latency of."""
    count = min(len(known_ms), len(new_ms))
    both = np.isfinite(known_ms[:count]) & np.isfinite(new_ms[:count])
    return known_ms[:count][both], new_ms[:count][both]


def _why_not_compared(one_ms: FloatArray, other_ms: FloatArray) -> str | None:
    """A common name alone makes no pair: Pixel_3 and Pixel_4 are two models."""
    if len(one_ms) < _FITTED + _LEAST_JUDGED:
        return f"share {len(one_ms)} networks of {_FITTED + _LEAST_JUDGED} that are needed"
    if np.array_equal(one_ms, other_ms):
        return "hold the same figures: one unit twice"
    apart = float(np.median(other_ms) / np.median(one_ms))
    if not 1 / _MOST_APART <= apart <= _MOST_APART:
        return (
            f"are a factor {max(apart, 1 / apart):,.1f} apart in median, more than {_MOST_APART:g}: two models, or one "
            "of them in another unit"
        )
    if not agrees_throughout(one_ms, other_ms, _ALIKE):
        return "do not rank alike throughout: two models, or their lines are not the same networks"
    return None


def _medians(path: Path) -> tuple[FloatArray, list[str]]:
    """(lines,) median run of each network, NaN for a line that is of no use, and what is wrong with those."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()
    fields_of = [line.strip().rstrip(",").split(",") for line in lines]
    runs_of = [[positive_number(field) for field in fields] for fields in fields_of]
    lengths = Counter(len(runs) for runs in runs_of if None not in runs and len(runs) >= _LEAST_RUNS)
    usual = lengths.most_common(1)[0][0] if lengths else _LEAST_RUNS
    medians, problems = np.full(len(lines), np.nan), []
    for row, (fields, runs) in enumerate(zip(fields_of, runs_of, strict=True)):
        times = [run for run in runs if run is not None]
        if len(times) < len(fields):
            problems.append(f"line {row + 1}: {fields[runs.index(None)][:20]!r} is no latency")
        elif len(times) != usual:
            needed = f"{_LEAST_RUNS} or more are needed" if len(times) < _LEAST_RUNS else f"most lines have {usual}"
            problems.append(f"line {row + 1}: {len(times)} runs, {needed}")
        else:
            medians[row] = np.median(times[1:])
    return medians, problems
