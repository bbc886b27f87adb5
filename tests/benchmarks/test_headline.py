"""The headline benchmark compares the published networks, and says what was not measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.headline import (
    PROXYLESS,
    WIDE_MOBILENETV2,
    published_claims,
    ratio_spread,
    runtime_claims,
    wide_mobilenetv2,
)
from latency_model.kernels import macs, parameter_count


def timed(latency_ms: float, verdict: str = "accepted") -> SimpleNamespace:
    return SimpleNamespace(latency_ms=latency_ms, spread=0.01, verdict=verdict)


def measured(**latency_ms: float) -> dict[str, SimpleNamespace]:
    found = {f"proxyless-{name}": timed(ms) for name, ms in latency_ms.items()}
    return {**found, WIDE_MOBILENETV2: timed(18.0)}


def test_the_wide_mobilenetv2_is_the_published_one():
    ops = wide_mobilenetv2().ops
    assert sum(map(macs, ops)) == pytest.approx(582e6, rel=0.001)
    assert sum(map(parameter_count, ops)) == pytest.approx(6.1e6, rel=0.01)
    assert ops[-2].in_channels == 1792


def test_a_phone_and_imagenet_are_rows_that_say_what_is_missing():
    for claim in published_claims():
        assert claim.value is None and not claim.holds
        assert claim.note is not None and "here" in claim.note


def test_the_speedup_is_that_of_the_papers_pair_and_of_the_network_that_suits_the_runtime():
    pair, best, own = runtime_claims("somewhere", measured(mobile=10.0, cpu=9.0, gpu=12.0))
    assert pair.value == pytest.approx(1.8) and pair.holds
    assert best.value == pytest.approx(2.0) and "proxyless-cpu" in best.note
    assert own.value == pytest.approx(0.9) and own.holds
    assert own.note == "order: proxyless-cpu < proxyless-mobile < proxyless-gpu"


def test_a_cpu_network_that_does_not_win_on_a_cpu_falls_short():
    *_, own = runtime_claims("somewhere", measured(mobile=8.0, cpu=9.0, gpu=12.0))
    assert own.value == pytest.approx(9 / 8) and not own.holds


@pytest.mark.parametrize("lost", [*PROXYLESS, WIDE_MOBILENETV2])
def test_a_throttled_network_is_not_compared(lost):
    one = {**measured(mobile=10.0, cpu=9.0, gpu=12.0), lost: timed(1.0, "throttled")}
    (claim,) = runtime_claims("somewhere", one)
    assert claim.value is None and lost in claim.note


def test_the_spread_of_a_ratio_is_that_of_both_latencies():
    low, high = ratio_spread(timed(20.0), timed(10.0))
    assert (low, high) == (pytest.approx(2 / 1.02), pytest.approx(2.04))
