"""The public whole-network labels as arrays; what a folder does not hold is said, never made up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.claims import PUBLIC_DATA
from benchmarks.public_additive import contradicts_order, follows_order
from benchmarks.public_fbnet import FBNET_CANDIDATE_COUNT, fbnet_items
from benchmarks.public_files import Absent, LeftOut, in_words, positive_number
from latency_model.features import FloatArray
from latency_model.few_shot.items import Items

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
DEFAULT_FOLDER = PUBLIC_DATA
SPACES = ("nasbench201", "fbnet")

_NETWORK_FILE = {"nasbench201": "str_arch2idx.pt", "fbnet": "arch.pt"}
_NASBENCH201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_NASBENCH201_EDGES = 6
_NASBENCH201_NETWORKS = 15625
_LEAST_LABELS = 50  # twenty to fit and some to judge
_OTHER_UNIT = 100.0  # times the median; on the public devices the slowest network takes 9 times it


@dataclass(frozen=True, kw_only=True)
class PublicSpace:
    """Networks of one space, and their latency on many devices.

    Attributes:
        file: the folder of its latencies, as it is named below the data folder.
        counts: (networks, items) which candidate stands at each position.
        latency_ms: per device (networks,); NaN where a device has no label.
        refused: per device whose file is there and cannot be used, why.
        left_out: what of the files is not in these arrays.
    """

    name: str
    file: str
    counts: FloatArray
    items: Items
    latency_ms: dict[str, FloatArray]
    refused: dict[str, str]
    left_out: tuple[LeftOut, ...]

    def why_without(self, devices: Iterable[str]) -> str:
        """Which of the devices have no file, by path, and what is wrong with the files of the others."""
        absent = [device for device in devices if device not in self.latency_ms and device not in self.refused]
        names = absent[0] if len(absent) == 1 else f"{{{','.join(absent)}}}"
        said = [f"no {self.file}/{names}.pt"] if absent else []
        return "; ".join(said + [f"{device}: {self.refused[device]}" for device in devices if device in self.refused])


@dataclass(frozen=True)
class Networks:
    """(rows, positions) candidates in the order of the file; ``is_read`` is false where a row is no network."""

    choices: IntArray
    is_read: BoolArray
    problems: tuple[str, ...]


def read_help_space(folder: Path, name: str) -> PublicSpace | Absent:
    """The networks and devices under ``help/<name>``."""
    root = folder / "help" / name
    path = root / _NETWORK_FILE[name]
    raw = _load(path)
    if isinstance(raw, Absent):
        return raw
    items, candidate_count = _items_of(name)
    position_count = len(items.class_of) // candidate_count
    networks = _listed(raw, position_count, candidate_count) if name == "fbnet" else _named(raw)
    if networks is None or not networks.is_read.any():
        return Absent(f"{path} lists no {name} networks")
    kept = networks.is_read
    counts = np.eye(candidate_count)[networks.choices[kept]].reshape(int(kept.sum()), -1)
    left_out = []
    if networks.problems:
        left_out.append(
            LeftOut(
                file=path.relative_to(folder).as_posix(),
                used=int(kept.sum()),
                of=int(kept.sum()) + len(networks.problems),
                unit="networks",
                what=f"{in_words(networks.problems)}; these are left out",
            )
        )
    latency_ms, refused = {}, {}
    for file in sorted((root / "latency").glob("*.pt")):
        labels, found = _read_labels(file, folder, kept, counts)
        if found is not None:
            left_out.append(found)
        if labels is not None:
            latency_ms[file.stem] = labels
        elif found is not None:
            refused[file.stem] = found.what
    return PublicSpace(
        name=name,
        file=f"{folder / 'help' / name / 'latency'}",
        counts=counts,
        items=items,
        latency_ms=latency_ms,
        refused=refused,
        left_out=tuple(left_out),
    )


def _load(path: Path) -> Any | Absent:
    """What torch saved; no code of the file is run."""
    if not path.is_file():
        return Absent(f"no {path}")
    import torch  # noqa: PLC0415 - slow to import

    try:
        return torch.load(path, weights_only=True)
    except Exception as error:  # noqa: BLE001 - bytes that are no pickle can raise anything
        return Absent(f"{path} is no whole file of plain values that torch saved ({type(error).__name__})")


def _items_of(name: str) -> tuple[Items, int]:
    if name == "fbnet":
        return fbnet_items(), FBNET_CANDIDATE_COUNT
    candidate_count = len(_NASBENCH201_OPS)
    return Items(class_of=np.tile(np.arange(candidate_count), _NASBENCH201_EDGES)), candidate_count


def _listed(raw: Any, position_count: int, candidate_count: int) -> Networks | None:
    """FBNet: a list of networks, each a list of candidates."""
    raw = raw.tolist() if hasattr(raw, "tolist") else raw
    if not isinstance(raw, list | tuple):
        return None
    choices, is_read, problems = np.zeros((len(raw), position_count), np.int64), np.zeros(len(raw), np.bool_), []
    for row, network in enumerate(raw):
        try:
            digits = np.array(list(network), dtype=np.int64)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"network {row} is {str(network)[:30]!r}")
            continue
        if len(digits) != position_count or digits.min() < 0 or digits.max() >= candidate_count:
            problems.append(f"network {row} is not {position_count} digits below {candidate_count}")
            continue
        choices[row], is_read[row] = digits, True
    return Networks(choices, is_read, tuple(problems))


def _named(raw: Any) -> Networks | None:
    """NAS-Bench-201: the place of each network in the label files, by the name of the network."""
    if not isinstance(raw, dict):
        return None
    highest = max(_NASBENCH201_NETWORKS, len(raw))
    rows: dict[int, list[int]] = {}
    problems = []
    for text, index in raw.items():
        ops = [edge.split("~")[0] for edge in re.findall(r"[a-z_0-9]+~\d", str(text))]
        is_place = isinstance(index, int) and 0 <= index < highest and index not in rows
        if is_place and len(ops) == _NASBENCH201_EDGES and set(ops) <= set(_NASBENCH201_OPS):
            rows[index] = [_NASBENCH201_OPS.index(op) for op in ops]
        else:
            problems.append(f"{str(text)[:30]!r} at {index!r}")
    count = max(rows, default=-1) + 1
    choices, is_read = np.zeros((count, _NASBENCH201_EDGES), np.int64), np.zeros(count, np.bool_)
    for row, candidates in rows.items():
        choices[row], is_read[row] = candidates, True
    return Networks(choices, is_read, tuple(problems))


def _read_labels(
    file: Path, folder: Path, kept: BoolArray, counts: FloatArray
) -> tuple[FloatArray | None, LeftOut | None]:
    """(networks,) latency with NaN where there is none, or None where the file is of no use; and what was left out."""
    expected = len(kept)

    def left_out(used: int, of: int, what: str) -> LeftOut:
        return LeftOut(file=file.relative_to(folder).as_posix(), used=used, of=of, unit="labels", what=what)

    raw = _load(file)
    if isinstance(raw, Absent):
        return None, left_out(0, expected, f"{raw.why}; the device is left out")
    values = raw.tolist() if hasattr(raw, "tolist") else raw
    if not isinstance(values, list | tuple):
        return None, left_out(0, expected, f"holds {type(raw).__name__}, no list; the device is left out")
    numbers = [positive_number(value) for value in values]
    limit = _OTHER_UNIT * float(np.median([number for number in numbers if number is not None] or [np.inf]))
    wrong = [f"entry {i} is {str(values[i])[:20]!r}" for i, number in enumerate(numbers) if number is None]
    for index, number in enumerate(numbers):
        if number is not None and number >= limit:
            wrong.append(f"entry {index} is {number:.4g}, {number / limit * _OTHER_UNIT:.0f} times the median")
            numbers[index] = None
    labels = np.full(expected, np.nan)
    count = min(len(numbers), expected)
    labels[:count] = [np.nan if number is None else number for number in numbers[:count]]
    labels, total = labels[kept], max(len(numbers), expected)
    used = int(np.isfinite(labels).sum())
    what = []
    if wrong:
        what.append(f"{len(wrong)} entries are no latencies ({in_words(wrong)}) and are left out")
    if used < _LEAST_LABELS or np.ptp(labels[np.isfinite(labels)]) == 0:
        short = f"fewer than {_LEAST_LABELS}" if used < _LEAST_LABELS else "all equal"
        what.append(f"{used} labels, {short}; the device is left out")
        return None, left_out(0, total, "; ".join(what))
    size = f"{len(numbers)} labels for {expected} networks"
    is_whole = len(numbers) == expected
    if not follows_order(counts, labels):
        if not is_whole or contradicts_order(counts, labels):
            which = "they" if is_whole else f"{size}, and they"
            what.append(f"{which} are not seen to follow the order of the networks; the device is left out")
            return None, left_out(0, total, "; ".join(what))
        what.append(f"{used} labels are too few to see whether they follow the order of the networks; they are used")
    if not is_whole:
        what.append(f"{size}; the first {count} were tested to follow the order of the networks and are used")
    return labels, left_out(used, total, "; ".join(what)) if what else None
