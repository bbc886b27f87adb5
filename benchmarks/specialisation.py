"""Does each device's own network win on it? ``python -m benchmarks.specialisation [--quick] [--json] [--data DIR]``.

The devices are the runtimes of this machine (the nearest thing to several chips that it has), each with the budget that
half of the networks of the NAS-Bench-Macro space meet on it. For each there are two own networks: the one of the
highest published accuracy by predicted latency, which is as much as there is to find, and the one that a single search
for all devices at once derives. All are timed on every device. An own network wins against another device's when that
one misses the budget here, or is less accurate by more than the published trainings of each (three) let one doubt: a
difference of their means within its 95 % interval cannot be told, and is counted apart. The same network twice is a
draw.

``--quick`` takes two runtimes, a shorter timing plan and no search. Latencies and the search are kept
under build/specialisation.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.local_devices import QUICK_PLAN
from benchmarks.macro_bench import (
    MacroBench,
    MeasuredDevice,
    cifar10,
    measure_networks,
    measured_device,
    read_macro_bench,
)
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.search_quality import FULL, identity, stage
from latency_model.ops import Dtype
from profiler_agent.device import load_device
from profiler_agent.errors import ProxylessError
from search.allocator import keep_freed_memory
from search.derive import derive
from search.space import Choices
from search.spaces.nas_bench_macro import nas_bench_macro_space
from search.trainer import SearchFiles, SearchTrainer

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "specialisation"
COLUMNS: tuple[tuple[str, int, Dtype], ...] = (
    ("local_cpu_onnxruntime", 1, "fp32"),
    ("local_cpu_torch", 1, "fp32"),
    ("local_cpu_litert", 1, "fp32"),
    ("local_cpu_litert", 1, "int8"),
    ("local_cpu_onnxruntime", 2, "fp32"),
)
QUICK_COLUMNS = COLUMNS[:1] + COLUMNS[2:3]
BUDGET_PERCENTILE = 50
TOLERANCE = 0.02
"""A measured latency repeats within this, so a network meets a budget that it exceeds by less."""

STUDENT_95 = 2.776
"""Two-sided 95 % quantile of Student's t for the difference of two means of three trainings each (4 degrees)."""

Outcome: TypeAlias = Literal["wins", "cannot be told", "draws", "loses"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A device with what every network costs on it."""

    device: MeasuredDevice
    bench: MacroBench

    @property
    def budget_ms(self) -> float:
        return self.bench.budget_ms(BUDGET_PERCENTILE)

    def best_published(self) -> Choices:
        within = self.bench.within(self.budget_ms)
        return self.bench.choices[within[self.bench.accuracy[within].argmax()]]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One network on one device: measured latency over that device's budget, and published accuracy in per cent with
    the standard error of its mean."""

    choices: Choices
    budget_share: float
    accuracy: float
    accuracy_error: float

    @property
    def is_within(self) -> bool:
        return self.budget_share <= 1 + TOLERANCE


def outcome(own: Timed, other: Timed) -> Outcome:
    """How a device's own network stands on it against one that was made for another."""
    if own.choices == other.choices:
        return "draws"
    if not own.is_within:
        return "loses"
    if not other.is_within:
        return "wins"
    if abs(own.accuracy - other.accuracy) <= accuracy_noise(own, other):
        return "cannot be told"
    return "wins" if own.accuracy > other.accuracy else "loses"


def accuracy_noise(one: Timed, other: Timed) -> float:
    """How far apart the mean accuracies of two equally good networks may lie, in points."""
    return STUDENT_95 * math.hypot(one.accuracy_error, other.accuracy_error)


def measure(options: Options) -> Iterator[Claim]:
    data_folder = options.data or DEFAULT_FOLDER
    columns: dict[str, Column] = {}
    for name, thread_count, dtype in QUICK_COLUMNS if options.quick else COLUMNS:
        device = measured_on(name, thread_count, dtype, quick=options.quick)
        try:
            columns[device.label] = Column(device=device, bench=read_macro_bench(data_folder, measured_device(device)))
        except ProxylessError as error:
            yield not_measured(f"networks made for {device.label}", "each wins there", str(error).splitlines()[0])
    published = {label: column.best_published() for label, column in columns.items()}
    yield from matrix_claims("best published networks", columns, published)
    if not options.quick:
        yield from matrix_claims("networks of one search", columns, searched(columns, data_folder))


def measured_on(name: str, thread_count: int, dtype: Dtype, *, quick: bool = False) -> MeasuredDevice:
    """A device at hand; what the short plan of a quick run measured is kept apart."""
    device = load_device(ROOT / "device_configs" / f"{name}.yaml")
    if thread_count != device.runtime.thread_count:
        runtime = dataclasses.replace(device.runtime, thread_count=thread_count)
        device = dataclasses.replace(device, name=f"{name}_{thread_count}_threads", runtime=runtime)
    folder = BUILD / f"{name}-{thread_count}-{dtype}"
    if quick:
        device, folder = dataclasses.replace(device, plan=QUICK_PLAN), folder.with_name(f"{folder.name}-quick")
    return MeasuredDevice(folder=folder, device=device, dtype=dtype)


def searched(columns: Mapping[str, Column], data_folder: Path) -> dict[str, Choices]:
    """What one search for all devices derives for each; kept once done."""
    keep_freed_memory()
    data = cifar10(data_folder, BUILD, FULL.image_count, seed=0)
    settings = FULL.settings(data, seed=0)
    space = nas_bench_macro_space(stem_stride=FULL.stem_stride)
    targets = [
        dataclasses.replace(column.bench.target, name=label, target_ms=column.budget_ms)
        for label, column in columns.items()
    ]
    folder = BUILD / "-".join(["search", *(identity(FULL, settings, target) for target in targets)])

    def search() -> dict[str, dict[str, Choices]]:
        trainer = SearchTrainer(space, data, targets, settings, SearchFiles(folder=folder))
        trainer.resume()
        trainer.run()
        return {
            "derived": {s.target.name: derive(trainer.supernet, s, data, settings).best.choices for s in trainer.states}
        }

    return {
        label: tuple(choices) for label, choices in stage(folder / "derived-ranked.json", search)["derived"].items()
    }


def matrix_claims(what: str, columns: Mapping[str, Column], own: Mapping[str, Choices]) -> Iterator[Claim]:
    """Time every network everywhere; one row per device, then all pairs."""
    outcomes: list[Outcome] = []
    gains, too_slow = [], []
    for label, column in columns.items():
        on_device = timed(column, own)
        if label not in on_device:
            yield not_measured(beaten_text(what, label), "<= 0", "its own network has no usable timing: it slowed down")
            continue
        others = {made_for: network for made_for, network in on_device.items() if made_for != label}
        results = {made_for: outcome(on_device[label], network) for made_for, network in others.items()}
        outcomes += results.values()
        usable = [network for network in others.values() if network.is_within]
        best = max(usable, key=lambda network: network.accuracy, default=None)
        gain = on_device[label].accuracy - best.accuracy if best and on_device[label].is_within else None
        too_slow += [] if on_device[label].is_within else [f"{label} {on_device[label].budget_share - 1:+.1%}"]
        gains += [] if gain is None else [gain]
        rows = [f"made for {made_for}: {described(network)}" for made_for, network in on_device.items()]
        print("\n  ".join([f"{what}, on {label} (budget {column.budget_ms:.4g} ms)", *rows]), flush=True)
        count = Counter(results.values())
        yield at_most(
            beaten_text(what, label),
            count["loses"],
            0,
            unit=f"of {len(results)}",
            note=f"beaten {count['wins']}, cannot be told {count['cannot be told']}, "
            f"the same network {count['draws']}; {gain_text(on_device[label], best)}",
        )
    yield at_most(
        f"{what}: devices whose own network misses their budget, as measured, by more than {TOLERANCE:.0%}",
        len(too_slow),
        0,
        unit=f"of {len(columns)}",
        note=", ".join(too_slow) or "none",
    )
    if gains:
        yield at_least(
            f"{what}: accuracy over the best of the others' networks that meets a device's budget, where its own does",
            statistics.mean(gains),
            0.0,
            unit="points",
            spread=(min(gains), max(gains)),
            note=f"{outcomes.count('wins')} won, {outcomes.count('cannot be told')} cannot be told, "
            f"{outcomes.count('draws')} the same, {outcomes.count('loses')} lost",
        )


def gain_text(own: Timed, best: Timed | None) -> str:
    """What the own network gains over the most accurate other that meets the budget."""
    if not own.is_within:
        return "its own misses the budget"
    if best is None:
        return "no other meets the budget"
    gain, noise = own.accuracy - best.accuracy, accuracy_noise(own, best)
    return f"{gain:+.2f} points over the best that meets it, where {noise:.2f} are noise"


def beaten_text(what: str, label: str) -> str:
    return f"{what}: those made for other devices that beat its own on {label}"


def timed(column: Column, own: Mapping[str, Choices]) -> dict[str, Timed]:
    networks: Sequence[Choices] = list(own.values())
    measured_ms = measure_networks(column.device, networks)
    return {
        made_for: Timed(
            choices=choices,
            budget_share=measured_ms[choices] / column.budget_ms,
            accuracy=float(column.bench.accuracy[column.bench.row(choices)]),
            accuracy_error=float(column.bench.accuracy_error[column.bench.row(choices)]),
        )
        for made_for, choices in own.items()
        if choices in measured_ms
    }


def described(network: Timed) -> str:
    return f"{''.join(map(str, network.choices))} {network.accuracy:.2f} % at {network.budget_share:.1%} of the budget"


if __name__ == "__main__":
    run_benchmark("specialisation", measure)
