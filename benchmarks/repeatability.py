"""How well latencies repeat on this machine with every core kept busy by something else.

One thread: the spread between the sessions of a model at the device's pace (and, in the note, as they came), and
between two runs an opening apart. Two threads: what is let through. What timing costs is in ``benchmarks.host_share``.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.claims import Claim, Options, at_least, at_most, run_benchmark
from benchmarks.device_models import block_files, canary_file, loaded_cores
from profiler_agent.device import Device, TimingPlan, load_device
from profiler_agent.errors import DeviceTooBusy
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import StabilityReport, judge_timing
from profiler_agent.timing import Timing

CONFIGS = Path(__file__).parents[1] / "device_configs"
AIM_SPREAD = 0.03
AIM_SHARE = 0.95
LOAD_LIMIT_S = 900.0


def measure(options: Options) -> Iterator[Claim]:
    block_count = 10 if options.quick else 60
    for runtime in ("onnxruntime", "litert"):
        device = load_device(CONFIGS / f"local_cpu_{runtime}.yaml")
        with tempfile.TemporaryDirectory() as folder:
            files = block_files(Path(folder), runtime, block_count)
            canary = canary_file(Path(folder), runtime)
            with loaded_cores(LOAD_LIMIT_S) as busy_count:
                runs = [time_all(device, files, canary) for _ in range(2)]
                yield from repeat_claims(f"{runtime}, 1 thread, {busy_count} busy processes", *runs, device.plan)
                yield crowded_claim(device, files[:5], canary)
            quiet = judge_all(time_all(device, files, canary), device.plan)
            yield bias_claim(runtime, judge_all(runs[0], device.plan), quiet)


def time_all(device: Device, files: Sequence[ModelFile], canary: ModelFile) -> list[Timing]:
    """One opening of the device, all models."""
    with open_session(device) as session:
        return list(session.time_models(files, canary=canary))


def judge_all(timings: Sequence[Timing], plan: TimingPlan) -> dict[str, StabilityReport]:
    return {timing.model_id: judge_timing(timing, plan) for timing in timings}


def as_they_came(timing: Timing) -> Timing:
    """Without what is known of the device's pace."""
    return replace(timing, sessions=tuple(replace(session, pace=None) for session in timing.sessions))


def repeat_claims(
    where: str, first_timings: Sequence[Timing], second_timings: Sequence[Timing], plan: TimingPlan
) -> Iterator[Claim]:
    first, second = judge_all(first_timings, plan), judge_all(second_timings, plan)
    spreads = [report.spread for report in (*first.values(), *second.values())]
    noisy = sum(report.verdict != "accepted" for report in (*first.values(), *second.values()))
    raw = [judge_timing(as_they_came(timing), plan).spread for timing in (*first_timings, *second_timings)]
    raw_share = sum(spread <= AIM_SPREAD for spread in raw) / len(raw)
    yield at_least(
        f"share of blocks with a spread between sessions of at most 3 %, {where}",
        sum(spread <= AIM_SPREAD for spread in spreads) / len(spreads),
        AIM_SHARE,
        unit="of blocks",
        note=f"at the device's pace; median spread {statistics.median(spreads):.2%}, largest {max(spreads):.2%}, "
        f"{noisy} not accepted; the same sessions as they came: {raw_share:.0%} of blocks",
    )
    changes = [abs(second[name].latency_ms / report.latency_ms - 1) for name, report in first.items()]
    yield at_least(
        f"share of blocks whose second run is within 3 % of the first, {where}",
        sum(change <= AIM_SPREAD for change in changes) / len(changes),
        AIM_SHARE,
        unit="of blocks",
        note=f"median change {statistics.median(changes):.2%}, largest {max(changes):.2%}",
    )


def crowded_claim(device: Device, files: Sequence[ModelFile], canary: ModelFile) -> Claim:
    """Two threads on a busy machine are to be refused, or flagged one by one."""
    crowded = replace(
        device, runtime=replace(device.runtime, thread_count=2), guard=replace(device.guard, wait_limit_s=10.0)
    )
    try:
        reports = judge_all(time_all(crowded, files, canary), crowded.plan)
        accepted = sum(report.verdict == "accepted" for report in reports.values())
        note = "measured, and judged one by one"
    except DeviceTooBusy:
        accepted, note = 0, "the run was refused"
    return at_most(
        f"{device.runtime.name}, 2 threads on a busy machine: blocks accepted", accepted, 0, unit="blocks", note=note
    )


def bias_claim(runtime: str, busy: dict[str, StabilityReport], quiet: dict[str, StabilityReport]) -> Claim:
    """Repeating well is not enough: the busy machine's figures are to be those of the quiet one."""
    ratios = [busy[name].latency_ms / report.latency_ms for name, report in quiet.items()]
    return at_most(
        f"{runtime}, 1 thread: busy machine against quiet one, median over blocks",
        abs(statistics.median(ratios) - 1),
        AIM_SPREAD,
        unit="relative difference",
        spread=(min(ratios) - 1, max(ratios) - 1),
    )


if __name__ == "__main__":
    run_benchmark("repeatability", measure)
