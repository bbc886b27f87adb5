"""Phones of one model that are two devices: what three networks of the new one are worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.claims import Claim, at_most, not_measured
from benchmarks.public_additive import agrees_throughout
from benchmarks.public_files import Absent, LeftOut, in_words, positive_number
from latency_model.features import FloatArray

_FITTED = 3
_LEAST_JUDGED = 10
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
    paths = sorted(root.glob("*.txt"))
    if not paths:
        return Absent(f"no {root}/*.txt")
    latency_ms, problems = {}, {}
    for path in paths:
        latency_ms[path.stem], problems[path.stem] = _medians(path)
    usual = Counter(map(len, latency_ms.values())).most_common(1)[0][0]
    whole = [values for values in latency_ms.values() if len(values) == usual]
    left_out = []
    for phone, values in latency_ms.items():
        found = problems[phone]
        what = [f"{in_words(found)}; left out"] if found else []
        kept = values
        if len(values) != usual:
            kept = values[:usual] if _is_in_order(values, whole) else values[:0]
            done = (
                f"the first {len(kept)} were tested to follow their order and are used"
                if len(kept)
                else ("they do not follow their order, and the phone is left out")
            )
            what.append(f"{len(values)} lines where most phones have {usual}; {done}")
        latency_ms[phone] = kept
        if what:
            left_out.append(
                LeftOut(
                    file=f"iitm_phones/cpu/{phone}.txt",
                    used=int(np.isfinite(kept).sum()),
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
    models: dict[str, list[str]] = {}
    for phone in phones.latency_ms:
        models.setdefault(re.sub(r"_\d+$", "", phone), []).append(phone)
    pairs = [(a, b) for units in models.values() for a in units for b in units if a != b]
    before, after, left_out = [], [], []
    for known, new in pairs:
        source, truth = _of_both(phones.latency_ms, known, new)
        if len(truth) < _FITTED + _LEAST_JUDGED:
            left_out.append(
                f"{known} and {new} share {len(truth)} networks of {_FITTED + _LEAST_JUDGED} that are needed"
            )
            continue
        if np.array_equal(source, truth):
            left_out.append(f"{known} and {new} hold the same figures: one unit twice")
            continue
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(len(truth))
            factor = float(np.median(truth[order[:_FITTED]] / source[order[:_FITTED]]))
            rest = order[_FITTED:]
            before.append(float(np.mean(np.abs(source[rest] / truth[rest] - 1))))
            after.append(float(np.mean(np.abs(factor * source[rest] / truth[rest] - 1))))
    lacking = in_words(left_out)
    if not after:
        yield not_measured(claim, "<= 1", lacking or f"no two units of one model in {phones.folder}")
        return
    yield at_most(
        claim,
        float(np.mean(after) / np.mean(before)),
        1.0,
        unit="ratio",
        note=f"{len(pairs) - len(left_out)} ordered pairs; {np.mean(before):.1%} -> {np.mean(after):.1%}"
        + (f"; left out: {lacking}" if lacking else ""),
    )


def _of_both(latency_ms: Mapping[str, FloatArray], known: str, new: str) -> tuple[FloatArray, FloatArray]:
    """The networks that both phones have a latency of."""
    count = min(len(latency_ms[known]), len(latency_ms[new]))
    source, truth = latency_ms[known][:count], latency_ms[new][:count]
    both = np.isfinite(source) & np.isfinite(truth)
    return source[both], truth[both]


def _is_in_order(latency_ms: FloatArray, whole: list[FloatArray]) -> bool:
    """Whether the lines rank as those of the median phone, part by part."""
    relative = np.array([values / np.nanmedian(values) for values in whole if np.isfinite(values).any()])
    if len(relative) == 0:
        return False
    count = min(len(latency_ms), relative.shape[1])
    known = np.isfinite(latency_ms[:count]) & np.isfinite(relative[:, :count]).any(axis=0)
    expected = np.nanmedian(relative[:, :count][:, known], axis=0)
    return agrees_throughout(expected, latency_ms[:count][known])


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
            problems.append(f"line {row + 1}: {len(times)} runs, most lines have {usual}")
        else:
            medians[row] = np.median(times[1:])
    return medians, problems
