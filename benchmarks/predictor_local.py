"""Latency predictors on this machine: python -m benchmarks.predictor_local [--quick] [--json]

For each runtime, one thread: profile the small search space, hold out 50 random whole networks, predict them. Then
how fast predictions are. Each model is timed in nine sessions instead of the three of a device's file, as there are
fifteen minutes for it and part of what is left of the errors is noise of the timings (``benchmarks.latency_baselines``
times the same networks in three). How many networks lie in their intervals is judged on the 50 and over many splits: of
50, intervals that are right hold less than 86 or more than 94 % once in four times. ``--quick`` holds out 20 networks,
calibrates on 15, times with a shorter plan and draws fewer splits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.local_devices import DEVICE_FILES, QUICK_PLAN
from benchmarks.local_profile import profile_small_space, small_space
from latency_model.evaluate import ErrorFigures
from latency_model.fit import fit_network_latency, fit_predictor
from latency_model.measurement import MeasurementSet
from latency_model.network_latency import NetworkLatency
from latency_model.op_timings import pooled_timings
from latency_model.ops import ConvSpec
from latency_model.predictors import MeasuredFirstPredictor, RandomForestPredictor, TablePredictor, XGBoostPredictor
from profiler_agent.device import TimingPlan, load_device
from profiler_agent.errors import ProxylessError

_MINUTES = 15.0
_SESSIONS, _MOST_SESSIONS = 9, 12
_SPLITS, _QUICK_SPLITS = 20, 4
_LEAST_COVERAGE, _MOST_COVERAGE = 0.86, 0.94


def measure(options: Options) -> Iterator[Claim]:
    """Accuracy on both runtimes, then speed."""
    for runtime in ("onnxruntime", "litert"):
        try:
            yield from runtime_claims(runtime, options.quick)
        except ProxylessError as error:
            yield not_measured(f"{runtime}, held-out networks within 10 %", ">= 0.99", str(error).splitlines()[0])
    yield from speed_claims()


def runtime_claims(runtime: str, quick: bool) -> Iterator[Claim]:
    """Profile, fit with the held-out networks kept out, judge."""
    calibration_count, held_out_count = (15, 20) if quick else (100, 50)
    plan = QUICK_PLAN if quick else _long_plan(runtime)
    profile = profile_small_space(runtime, small_space().unique_ops(), calibration_count, held_out_count, plan)
    started = time.monotonic()
    predictor = fit_predictor(profile.measured, held_out=profile.held_out)
    seconds, split_count = time.monotonic() - started, _QUICK_SPLITS if quick else _SPLITS
    yield from _accuracy_claims(runtime, predictor, profile.measured, profile.minutes, seconds, split_count)


def _long_plan(runtime: str) -> TimingPlan:
    plan = load_device(DEVICE_FILES / f"local_cpu_{runtime}.yaml").plan
    return replace(plan, session_count=_SESSIONS, max_sessions=_MOST_SESSIONS)


def _accuracy_claims(
    runtime: str,
    predictor: NetworkLatency,
    measured: MeasurementSet,
    minutes: float,
    fit_seconds: float,
    split_count: int,
) -> Iterator[Claim]:
    card = predictor.report_card
    figures = ErrorFigures(**card["networks"])
    baseline = ErrorFigures(**card["networks_flops_baseline"])
    verdicts = measured.table()["verdict"].value_counts().to_dict()
    yield at_most(
        f"{runtime}, profiling time",
        minutes,
        _MINUTES,
        unit="minutes",
        note=f"{len(measured.op_measurements())} ops, {len(measured.network_measurements())} networks, verdicts "
        f"{verdicts}; {measured.measurements[0].plan.session_count} sessions or more of each; "
        f"the fit takes {fit_seconds:.0f} s",
    )
    yield at_least(
        f"{runtime}, held-out networks within 10 %",
        figures.within_10_percent,
        0.99,
        unit="share",
        note=f"MAPE {figures.mape:.2%}, by MACs alone {baseline.mape:.1%}; {card['method']}",
    )
    yield at_least(f"{runtime}, held-out networks within 5 %", figures.within_5_percent, 0.95, unit="share")
    yield at_least(f"{runtime}, held-out networks, Spearman", figures.spearman or 0.0, 0.99, unit="rank correlation")
    assert figures.coverage is not None, "every estimate has an interval"
    yield _coverage_claim(
        f"{runtime}, {figures.count} held-out networks inside their 90 % interval",
        figures.coverage,
        note=f"+-{figures.mean_half_width:.1%}",
    )
    coverages = split_coverages(predictor, measured, figures.count, split_count)
    yield _coverage_claim(
        f"{runtime}, the same over {len(coverages)} splits drawn anew, mean",
        float(np.mean(coverages)),
        spread=(min(coverages), max(coverages)),
        note="networks that were timed in one minute share the machine's level of that minute, so a split alone swings",
    )


def _coverage_claim(claim: str, coverage: float, note: str, spread: tuple[float, float] | None = None) -> Claim:
    holds = _LEAST_COVERAGE <= coverage <= _MOST_COVERAGE
    aim = f"{_LEAST_COVERAGE} to {_MOST_COVERAGE}"
    return Claim(claim=claim, value=coverage, unit="share", aim=aim, holds=holds, spread=spread, note=note)


def split_coverages(
    predictor: NetworkLatency, measured: MeasurementSet, held_out_count: int, split_count: int
) -> list[float]:
    """Hold out as many networks again and again, drawn anew; the op predictor stays as it is."""
    networks = measured.network_measurements()
    coverages = []
    for split in range(split_count):
        order = np.random.default_rng(split).permutation(len(networks))
        held_out = [networks[int(row)] for row in order[:held_out_count]]
        rest = [networks[int(row)] for row in order[held_out_count:]]
        fitted = fit_network_latency(predictor.op_predictor, rest)
        estimates = [fitted.predict_network(m.paid_ops) for m in held_out]
        inside = [e.low_ms <= m.latency_ms <= e.high_ms for e, m in zip(estimates, held_out, strict=True)]
        coverages.append(float(np.mean(inside)))
    return coverages


def speed_claims() -> Iterator[Claim]:
    """A million tabled ops, and a hundred thousand by trees, no two of which are the same."""
    widths = range(8, 168, 4)
    ops = [
        ConvSpec(in_channels=i, in_height=14, in_width=14, out_channels=o, kernel_size=k)
        for i in widths
        for o in widths
        for k in (1, 3, 5)
    ]
    latency = np.random.default_rng(0).uniform(0.1, 1.0, len(ops))
    timings = pooled_timings(zip(ops, map(float, latency), [0.01] * len(ops), strict=True))
    table = TablePredictor.fit(timings)
    some = timings.subset(range(0, len(ops), 10))
    boosted, forest = XGBoostPredictor.fit(some), RandomForestPredictor.fit(some)
    million = (ops * (1_000_000 // len(ops) + 1))[:1_000_000]
    yield at_most("1e6 tabled ops", _best_seconds(lambda: table.predict_ms(million)), 1.0, unit="s")
    auto = MeasuredFirstPredictor(table, boosted)  # what `fit --model auto` makes
    yield at_most("1e6 tabled ops, by auto", _best_seconds(lambda: auto.predict_ms(million)), 1.0, unit="s")
    different = [
        ConvSpec(in_channels=i, in_height=14, in_width=14, out_channels=o, kernel_size=3)
        for i in range(1, 401)
        for o in range(1, 251)
    ]
    boosted_s = _best_seconds(lambda: boosted.predict_ms(different))
    yield at_most("1e5 ops by trees", boosted_s, 1.0, unit="s", note="xgboost; all ops different")
    forest_s = _best_seconds(lambda: forest.predict_ms(different))
    yield at_most("1e5 ops by trees, forest", forest_s, 1.0, unit="s", note="scikit-learn; all ops different")


def _best_seconds(call: object) -> float:
    assert callable(call)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    run_benchmark("predictor_local", measure)
