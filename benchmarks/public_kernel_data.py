"""Kernels and whole networks that were timed on phone GPUs, from two CSV files; lines that make no sense are said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.phone_kernels import PhoneNetworks, numbers_of, op_of
from benchmarks.public_files import Absent, CsvTable, LeftOut, in_words, positive_number, read_csv
from benchmarks.public_kernel_blocks import without_repeats
from latency_model.features import FloatArray
from latency_model.ops import ConvSpec, OpSpecError

KERNEL_FILE, NETWORK_FILE = "phone_gpu_kernels/tflite_cnn_ops_gpu.csv", "phone_gpu_kernels/tflite_cnn_e2e.csv"
_DEVICE = r".+\|gpu\|(?!(?:mean|std|kernel)$)[^|]+"
# What a file has besides: of the networks also their latency on cores of the CPU, "pixel4|1large|float|mean".
_OTHER_OF_KERNELS = r"model|operation|feature|.+\|gpu\|kernel"
_OTHER_OF_NETWORKS = r"model|FLOPS|size|.+\|(?:gpu|\d\w*)\|[^|]+\|(?:mean|std)"
_OTHER_FILE = "tflite_nas_e2e.csv"  # networks without their kernels
_MS = 1e-3  # the files are in microseconds


@dataclass(frozen=True, kw_only=True)
class DeviceKernels:
    """One phone GPU.

    Attributes:
        kernel_ms: (rows,) NaN where a kernel was not timed.
        networks: those with a time for every kernel and for the whole; incomplete: names of those without.
        lacks: why there are no networks; None where there are.
    """

    kernel_ms: FloatArray
    networks: PhoneNetworks
    incomplete: tuple[str, ...]
    lacks: str | None


@dataclass(frozen=True, kw_only=True)
class PhoneGpus:
    """Attributes:
    devices: per device of the kernel file.
    models, operations, features: (rows,) of each kernel, as the file has them.
    convolutions: (rows,) the convolution that each kernel is; None for other ops and for shapes that our specs lack.
    """

    devices: dict[str, DeviceKernels]
    models: tuple[str, ...]
    operations: tuple[str, ...]
    features: tuple[str, ...]
    convolutions: tuple[ConvSpec | None, ...]
    left_out: tuple[LeftOut, ...]


def read_phone_gpus(folder: Path) -> PhoneGpus | Absent:
    """Read both files; without the kernels there is nothing, without the networks there are still convolutions."""
    kernel_path, network_path = folder / KERNEL_FILE, folder / NETWORK_FILE
    if not kernel_path.is_file():
        return Absent(f"no {kernel_path}")
    kernels = read_csv(kernel_path)
    columns = [column for column in kernels.columns if re.fullmatch(_DEVICE, column)]
    missing = sorted({"model", "operation", "feature"} - kernels.columns.keys())
    if missing or not columns:
        twice = f" (twice, and not alike: {', '.join(kernels.ambiguous)})" if kernels.ambiguous else ""
        return Absent(f"{kernel_path} has no column {', '.join(missing) or '*|gpu|float or of another type'}{twice}")
    kernels, repeated = without_repeats(kernels)
    problems = kernels.problems | repeated
    kernel_ms = {column: _milliseconds(kernels, column, problems) for column in columns}
    convolutions = tuple(_convolutions(kernels, problems))
    unsure = _unsure_models(kernels)
    if unsure:
        problems[max(kernels.problems)] += f" (networks beside such lines are not summed: {', '.join(sorted(unsure))})"
    left_out = list(_said(KERNEL_FILE, len(kernels.lines) + len(kernels.problems) + len(repeated), problems))
    networks = read_csv(network_path) if network_path.is_file() else CsvTable(columns={}, lines=(), problems={})
    network_problems = dict(networks.problems)
    whole_ms = _whole_networks(networks, network_problems)
    left_out += _said(NETWORK_FILE, len(networks.lines) + len(networks.problems), network_problems)
    left_out += _not_read(kernel_path.parent, kernels, networks)
    nothing = np.full(len(convolutions), np.nan)
    devices = {}
    for column in dict.fromkeys((*columns, *whole_ms)):
        lacks = None
        if column not in kernel_ms:
            lacks = f"no column {column} in {kernel_path}"
        elif column not in whole_ms:
            lacks = (
                f"no column model or {column}|mean in {network_path}"
                if network_path.is_file()
                else f"no {network_path}"
            )
        of_device = kernel_ms.get(column, nothing)
        models = kernels.columns["model"]
        networks_of = _networks(column, models, of_device, whole_ms.get(column, {}), unsure)
        named = dict.fromkeys((*models, *whole_ms.get(column, {})))
        devices[networks_of.device] = DeviceKernels(
            kernel_ms=of_device,
            networks=networks_of,
            incomplete=tuple(model for model in named if model not in networks_of.models),
            lacks=lacks,
        )
    models, operations, features = (kernels.columns[name] for name in ("model", "operation", "feature"))
    return PhoneGpus(
        devices=devices,
        models=models,
        operations=operations,
        features=features,
        convolutions=convolutions,
        left_out=tuple(left_out),
    )


def _networks(
    column: str, models: tuple[str, ...], kernel_ms: FloatArray, whole_ms: dict[str, float], unsure: set[str]
) -> PhoneNetworks:
    of_model: dict[str, list[float]] = {}
    for model, latency_ms in zip(models, kernel_ms, strict=True):
        of_model.setdefault(model, []).append(float(latency_ms))
    # A network that lacks a kernel would be summed too low.
    complete = [m for m in sorted(of_model) if m not in unsure and m in whole_ms and np.isfinite(of_model[m]).all()]
    return PhoneNetworks(
        column=column,
        models=tuple(complete),
        sums_ms=np.array([sum(of_model[model]) for model in complete]),
        kernel_count=np.array([float(len(of_model[model])) for model in complete]),
        latency_ms=np.array([whole_ms[model] for model in complete]),
    )


def _milliseconds(table: CsvTable, column: str, problems: dict[int, str]) -> FloatArray:
    """(rows,) NaN where there is none; a field that is not empty and no latency is a problem."""
    numbers = [positive_number(text) for text in table.columns[column]]
    for line, text, number in zip(table.lines, table.columns[column], numbers, strict=True):
        if number is None and text.strip():
            problems.setdefault(line, f"{column} is {text[:20]!r}")
    return np.array([np.nan if number is None else number * _MS for number in numbers])


def _whole_networks(networks: CsvTable, problems: dict[int, str]) -> dict[str, dict[str, float]]:
    """Per kernel column the latency of each network; of a network that stands twice the first."""
    models = networks.columns.get("model", ())
    first = {model: row for row, model in reversed(list(enumerate(models)))}
    for row, model in enumerate(models):
        if first[model] != row:
            problems.setdefault(networks.lines[row], f"{model!r} stands twice")
    found = {}
    for column in networks.columns if models else ():
        if re.fullmatch(_DEVICE, column.removesuffix("|mean")) and column.endswith("|mean"):
            latency_ms = _milliseconds(networks, column, problems)
            timed = {model: float(latency_ms[row]) for model, row in first.items() if np.isfinite(latency_ms[row])}
            found[column.removesuffix("|mean")] = timed
    return found


def _unsure_models(kernels: CsvTable) -> set[str]:
    """Networks next to a line that cannot be read: it may have been one of their kernels."""
    model_of = dict(zip(kernels.lines, kernels.columns["model"], strict=True))
    unsure = set()
    for line in kernels.problems:
        for step in (-1, 1):
            near = line + step
            while near in kernels.problems:
                near += step
            unsure |= {model_of[near]} if near in model_of else set()
    return unsure


def _convolutions(kernels: CsvTable, problems: dict[int, str]) -> Iterator[ConvSpec | None]:
    rows = zip(kernels.lines, kernels.columns["operation"], kernels.columns["feature"], strict=True)
    for line, operation, feature in rows:
        if operation != "CONV_2D":
            yield None
            continue
        try:
            yield _convolution(feature)
        except (ValueError, SyntaxError, KeyError, AttributeError, OpSpecError) as error:
            problems.setdefault(line, f"no convolution ({type(error).__name__}: {error}): {feature[:40]!r}")
            yield None


def _convolution(feature: str) -> ConvSpec | None:
    op = op_of("CONV_2D", numbers_of(feature))
    return op if isinstance(op, ConvSpec) else None


def _said(file: str, line_count: int, problems: dict[int, str]) -> Iterator[LeftOut]:
    if not problems:
        return
    listed = []
    # Lines of one run have the same distance to their place among the problems.
    for (_, what), run in groupby(enumerate(sorted(problems)), key=lambda each: (each[1] - each[0], problems[each[1]])):
        first, *others = (line for _, line in run)
        listed.append(f"lines {first} to {others[-1]}: {what}" if others else f"line {first}: {what}")
    yield LeftOut(
        file=file,
        used=line_count - len(problems),
        of=line_count,
        unit="lines",
        what=f"{in_words(listed)}; what cannot be read is left out",
    )


def _not_read(root: Path, kernels: CsvTable, networks: CsvTable) -> Iterator[LeftOut]:
    """One row for all columns and files that hold neither what is read nor what is known to stand beside it."""
    total, unknown = 0, []
    for path, table, other in (
        (KERNEL_FILE, kernels, rf"{_DEVICE}|{_OTHER_OF_KERNELS}"),
        (NETWORK_FILE, networks, _OTHER_OF_NETWORKS),
    ):
        total += len(table.columns) + len(table.ambiguous)
        unknown += [f"{Path(path).name} {column!r}" for column in table.columns if not re.fullmatch(other, column)]
        unknown += [f"{Path(path).name} {column!r} (stands twice, and differs)" for column in table.ambiguous]
    files = sorted(path.name for path in root.iterdir() if path.suffix.lower() == ".csv")
    total += len(files)
    known = {Path(KERNEL_FILE).name, Path(NETWORK_FILE).name, _OTHER_FILE}
    unknown += [name for name in files if name not in known]
    if unknown:
        what = f"not read: {in_words(unknown)}"
        yield LeftOut(file=root.name, used=total - len(unknown), of=total, unit="columns and files", what=what)
