"""The paper's headline on the devices at hand: ``python -m benchmarks.headline [--quick] [--json]``.

"1.8x faster than MobileNetV2 at the same accuracy" is MobileNetV2 1.4 over ProxylessNAS-Mobile, 143 over 78 ms, on a
Pixel 1, whose ImageNet accuracies (74.7 and 74.6 %) need a training that cannot be done here. Measured instead: the
latency of the same two published networks, and of the paper's other ones, with random weights at 224 pixels, one image,
on one thread of this processor, under each runtime. Accuracies beside them are the published ones. For specialisation,
each published network is ranked on each runtime: the one that was searched for a CPU should win here. The fastest of
the three on a runtime stands for one that is specialised for it; all three have published accuracies of 74.6 % and
more. ``--quick`` leaves MobileNetV2 1.0 and torch out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.local_devices import RUNTIMES, measure_here
from latency_model.measurement import Measurement, paid_ops
from latency_model.network import NetworkSpec
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, OpSpec, PoolSpec
from profiler_agent.device import RuntimeName
from profiler_agent.errors import ProxylessError
from search.spaces.imagenet import scaled_width
from search.zoo import build_network

AIM_SPEEDUP = 1.8
WIDE = 1.4
PROXYLESS = ("proxyless-mobile", "proxyless-cpu", "proxyless-gpu")
WIDE_MOBILENETV2 = "mobilenetv2-1.4"
TOP1 = {
    "proxyless-mobile": 74.6,
    "proxyless-cpu": 75.3,
    "proxyless-gpu": 75.1,
    "mobilenetv2": 72.0,
    WIDE_MOBILENETV2: 74.7,
}
"""Published ImageNet top-1, per cent: Cai, Zhu and Han, ICLR 2019, and Sandler et al., CVPR 2018, table 4."""
PUBLISHED_PIXEL1_MS = {"proxyless-mobile": 78.0, WIDE_MOBILENETV2: 143.0}
"""From the same two papers, on the same phone."""

Measured = Mapping[str, Measurement]


def wide_mobilenetv2() -> NetworkSpec:
    """MobileNetV2 1.4 as published: every width 1.4 times, rounded to a multiple of 8 by the authors' rule."""
    layers: list[tuple[str, OpSpec]] = []
    channels = 3
    for name, op in build_network("mobilenetv2").layers:
        wider = _wider(op, channels)
        layers.append((name, wider))
        channels = wider.output_shape[1]
    return NetworkSpec(name=WIDE_MOBILENETV2, layers=tuple(layers))


def _wider(op: OpSpec, in_channels: int) -> OpSpec:
    match op:
        case ConvSpec():
            out_channels = scaled_width(op.out_channels, WIDE)
            return dataclasses.replace(op, in_channels=in_channels, out_channels=out_channels)
        case MBConvSpec():
            return dataclasses.replace(
                op,
                in_channels=in_channels,
                out_channels=scaled_width(op.out_channels, WIDE),
                expand_channels=round(in_channels * op.expansion),
            )
        case PoolSpec():
            return dataclasses.replace(op, in_channels=in_channels)
        case LinearSpec():
            return dataclasses.replace(op, in_features=in_channels)
        case _:
            raise AssertionError(f"MobileNetV2 has no {op.kind}")


def measure(options: Options) -> Iterator[Claim]:
    yield from published_claims()
    networks = [*map(build_network, PROXYLESS), wide_mobilenetv2()]
    if not options.quick:
        networks.append(build_network("mobilenetv2"))
    for runtime in RUNTIMES[:2] if options.quick else RUNTIMES:
        try:
            measured = measured_by_name(runtime, networks, quick=options.quick)
        except ProxylessError as error:
            yield not_measured(speedup_text(runtime), f">= {AIM_SPEEDUP:g}", str(error).splitlines()[0])
            continue
        yield from runtime_claims(runtime, measured)


def published_claims() -> Iterator[Claim]:
    """What was published and is not shown here."""
    slow, fast = PUBLISHED_PIXEL1_MS[WIDE_MOBILENETV2], PUBLISHED_PIXEL1_MS["proxyless-mobile"]
    yield not_measured(
        f"{WIDE_MOBILENETV2} over proxyless-mobile on a phone",
        f">= {AIM_SPEEDUP:g}",
        f"no phone here; published for a Pixel 1: {slow:g} over {fast:g} ms, {slow / fast:.2f}",
    )
    yield not_measured(
        "ImageNet accuracy of a network that was searched and trained here",
        f">= {TOP1['proxyless-mobile']:g} %",
        "no ImageNet and no GPU here; all accuracies of this benchmark are published ones",
    )


def measured_by_name(runtime: RuntimeName, networks: list[NetworkSpec], *, quick: bool) -> dict[str, Measurement]:
    """Raises:
    ProxylessError: the runtime is missing, or a network could not be timed.
    """
    found = {one.paid_ops: one for one in measure_here(runtime, networks, quick=quick).usable()}
    return {network.name: found[paid_ops(network)] for network in networks if paid_ops(network) in found}


def speedup_text(runtime: str) -> str:
    return f"{WIDE_MOBILENETV2} over proxyless-mobile, {runtime}"


def runtime_claims(runtime: str, measured: Measured) -> Iterator[Claim]:
    """The speed-up of the paper's pair and of the network that suits this runtime best, and whether the CPU's wins."""
    usable = {name: one for name, one in measured.items() if one.verdict != "throttled"}
    missing = [name for name in (*PROXYLESS, WIDE_MOBILENETV2) if name not in usable]
    if missing:
        why = f"no usable timing of {', '.join(missing)}"
        yield not_measured(speedup_text(runtime), f">= {AIM_SPEEDUP:g}", why)
        return
    table = "; ".join(
        f"{name} {one.latency_ms:.2f} ms ({one.verdict}), published top-1 {TOP1[name]:g} %"
        for name, one in sorted(usable.items(), key=lambda item: item[1].latency_ms)
    )
    mobile, wide = usable["proxyless-mobile"], usable[WIDE_MOBILENETV2]
    yield at_least(
        speedup_text(runtime),
        wide.latency_ms / mobile.latency_ms,
        AIM_SPEEDUP,
        unit="ratio",
        spread=ratio_spread(wide, mobile),
        note=f"the aim is the paper's for a phone; {table}",
    )
    order = sorted(PROXYLESS, key=lambda name: usable[name].latency_ms)
    yield at_least(
        f"{WIDE_MOBILENETV2} over the fastest of the paper's three networks, {runtime}",
        wide.latency_ms / usable[order[0]].latency_ms,
        AIM_SPEEDUP,
        unit="ratio",
        spread=ratio_spread(wide, usable[order[0]]),
        note=f"{order[0]}, published top-1 {TOP1[order[0]]:g} %",
    )
    others = {name: usable[name] for name in PROXYLESS if name != "proxyless-cpu"}
    nearest = min(others, key=lambda name: others[name].latency_ms)
    own, other = usable["proxyless-cpu"], others[nearest]
    yield at_most(
        f"proxyless-cpu over the faster of the networks for a phone and a GPU, {runtime}",
        own.latency_ms / other.latency_ms,
        1.0,
        unit="ratio",
        spread=ratio_spread(own, other),
        note=f"order: {' < '.join(order)}",
    )


def ratio_spread(upper: Measurement, lower: Measurement) -> tuple[float, float]:
    """The ratio with both latencies off by as much as their sessions disagree."""
    ratio, error = upper.latency_ms / lower.latency_ms, upper.spread + lower.spread
    return ratio / (1 + error), ratio * (1 + error)


if __name__ == "__main__":
    run_benchmark("headline", measure)
