"""Large kernels where the hardware likes them: ``python -m benchmarks.large_kernels [--quick] [--json]``.

Every block with expansion 6 of the paper's ImageNet space (224 pixels, one image, 21 positions, kernels 3, 5 and 7) is
timed on one thread of this processor under each runtime, which stand for three devices: onnxruntime and LiteRT, whose
kernels are tuned, and torch operator by operator, where starting an operator costs most, as on a GPU. Printed is what a
7x7 kernel costs over a 3x3 one, in all and by the side of the feature map. Then all devices get the same relative
budget, 1.15 times their own network of 3x3 kernels, each step to a larger kernel is worth the same everywhere, and the
search's exact knapsack says at which positions a device buys 7x7. In the full run the networks so chosen are timed as a
whole on every device, because a sum of blocks may mislead, and no other device's choice may be worth as much there.
``--quick`` times one position of three stages, and no whole network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, not_measured, run_benchmark
from benchmarks.local_devices import RUNTIMES, measure_here
from latency_model.errors import MeasurementError
from latency_model.kernels import macs
from latency_model.measurement import MeasurementSet, paid_ops
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import MBConvSpec, OpSpec
from profiler_agent.device import RuntimeName
from profiler_agent.errors import ProxylessError
from search.budget import best_under_budget
from search.space import Position, SearchSpace
from search.spaces.imagenet import imagenet_space
from search.zoo import build_network

KERNELS = (3, 5, 7)
EXPANSION = 6
BUDGET_SHARE = 1.15
OTHER_SHARES = (1.05, 1.3)
OVERHEAD_BOUND: RuntimeName = "torch"
DIFFERENT = 1.1
PRICE_AIM = f"differs by {DIFFERENT:g} x from that of each other device"
QUICK_STAGES = (1, 3, 6)


@dataclass(frozen=True, kw_only=True)
class KernelPrices:
    """What the kernels cost on one device.

    Attributes:
        block_ms: per position (kernels,), smallest kernel first, without what a session adds to any model.
        fixed_ms: stem, head and the first block, of every network.
        side_px: of the feature map that each position's kernel reads.
        macs_ratio: multiply-accumulates of all blocks with 7x7 over those with 3x3.
    """

    block_ms: tuple[np.ndarray, ...]
    fixed_ms: float
    side_px: tuple[int, ...]
    macs_ratio: float

    @property
    def small_ms(self) -> float:
        """The network of 3x3 kernels."""
        return self.fixed_ms + sum(float(ms[0]) for ms in self.block_ms)

    def price_ratio(self, positions: Sequence[int] | None = None) -> float:
        """7x7 over 3x3, summed over these positions, or all."""
        chosen = range(len(self.block_ms)) if positions is None else positions
        return sum(float(self.block_ms[p][-1]) for p in chosen) / sum(float(self.block_ms[p][0]) for p in chosen)

    def ratio_by_side(self) -> dict[int, float]:
        sides = dict.fromkeys(self.side_px)
        return {side: self.price_ratio([p for p, own in enumerate(self.side_px) if own == side]) for side in sides}

    def chosen_kernels(self, budget_share: float) -> tuple[int, ...]:
        """The kernel of each position, where each step up is worth the same and the budget is a multiple of the
        network of 3x3 kernels."""
        worth = [np.arange(len(ms), dtype=float) for ms in self.block_ms]
        choices = best_under_budget(worth, self.block_ms, self.fixed_ms, budget_share * self.small_ms)
        return tuple(KERNELS[choice] for choice in choices)


def kernel_blocks(position: Position) -> tuple[MBConvSpec, ...]:
    """The position's blocks with expansion 6, smallest kernel first."""
    by_label = {candidate.label: candidate.op for candidate in position.candidates}
    blocks = [by_label[f"k{kernel} e{EXPANSION}"] for kernel in KERNELS]
    return tuple(block for block in blocks if isinstance(block, MBConvSpec))


def last_of_stages(space: SearchSpace, stages: Sequence[int]) -> tuple[Position, ...]:
    """The last position of each of these stages: stride 1."""
    last = {position.stage: position for position in space.positions}
    return tuple(last[stage] for stage in stages)


def prices_of(measured: MeasurementSet, positions: Sequence[Position], fixed: Sequence[OpSpec]) -> KernelPrices:
    """Read the measured blocks position by position.

    Raises:
        MeasurementError: a block without a usable timing.
    """
    timings = measured.op_timings()
    cost_ms = dict(zip(timings.ops, map(float, timings.latency_ms), strict=True))
    blocks = [kernel_blocks(position) for position in positions]
    lost_count = sum(op not in cost_ms for op in {*fixed, *(block for of_one in blocks for block in of_one)})
    if lost_count:
        raise MeasurementError(
            f"{lost_count} blocks have no usable timing: the machine slowed down meanwhile. Try again when it is quiet."
        )
    return KernelPrices(
        block_ms=tuple(np.array([cost_ms[block] for block in of_one]) for of_one in blocks),
        fixed_ms=sum(cost_ms[op] for op in fixed),
        side_px=tuple(of_one[0].in_height for of_one in blocks),
        macs_ratio=sum(macs(of_one[-1]) for of_one in blocks) / sum(macs(of_one[0]) for of_one in blocks),
    )


def measure(options: Options) -> Iterator[Claim]:
    space = imagenet_space()
    positions = last_of_stages(space, QUICK_STAGES) if options.quick else space.positions
    fixed = [op for _, op in space.fixed_layers]
    ops = dict.fromkeys([*fixed, *(block for position in positions for block in kernel_blocks(position))])
    prices: dict[RuntimeName, KernelPrices] = {}
    for runtime in RUNTIMES:
        try:
            measured = measure_here(runtime, [single_op_network(op) for op in ops], quick=options.quick)
            prices[runtime] = prices_of(measured, positions, fixed)
        except ProxylessError as error:
            yield not_measured(price_text(runtime), PRICE_AIM, str(error).splitlines()[0])
    yield from price_claims(prices)
    yield from choice_claims(prices)
    if not options.quick:
        yield from network_claims(space, prices)


def price_text(runtime: RuntimeName) -> str:
    return f"price of blocks with 7x7 over those with 3x3, {runtime}"


def price_claims(prices: Mapping[RuntimeName, KernelPrices]) -> Iterator[Claim]:
    """The whole price on each device, beside the one by the side of the feature map."""
    ratios = {runtime: own.price_ratio() for runtime, own in prices.items()}
    for runtime, own in prices.items():
        others = [ratio for other, ratio in ratios.items() if other != runtime]
        differs = all(max(ratio, ratios[runtime]) >= DIFFERENT * min(ratio, ratios[runtime]) for ratio in others)
        by_side = ", ".join(f"{side} px {ratio:.2f}" for side, ratio in own.ratio_by_side().items())
        of_positions = [float(ms[-1] / ms[0]) for ms in own.block_ms]
        yield Claim(
            claim=price_text(runtime),
            value=ratios[runtime],
            unit="ratio",
            aim=PRICE_AIM,
            holds=bool(others) and differs,
            spread=(min(of_positions), max(of_positions)),
            note=f"by multiply-accumulates {own.macs_ratio:.2f}; {by_side}; the spread is over positions",
        )


def choice_claims(prices: Mapping[RuntimeName, KernelPrices]) -> Iterator[Claim]:
    """How many positions each device gives 7x7, and whether the one bound by overhead gives it to most."""
    aim = f"{OVERHEAD_BOUND} gives 7x7 to more positions than the others, at {BUDGET_SHARE:g} x 3x3"
    if OVERHEAD_BOUND not in prices or len(prices) == 1:
        yield not_measured("positions with 7x7", aim, "needs torch and another runtime")
        return
    counts = {runtime: large_count(own, BUDGET_SHARE) for runtime, own in prices.items()}
    chosen = {runtime: own.chosen_kernels(BUDGET_SHARE) for runtime, own in prices.items()}
    for runtime, own in prices.items():
        others = ", ".join(f"{share:g} x: {large_count(own, share)}" for share in OTHER_SHARES)
        kernels = "".join(map(str, chosen[runtime]))
        yield Claim(
            claim=f"positions with 7x7 at {BUDGET_SHARE:g} x the network of 3x3, {runtime}",
            value=counts[runtime],
            unit=f"of {len(own.block_ms)} positions",
            aim="other kernels than on any other device",
            holds=list(chosen.values()).count(chosen[runtime]) == 1,
            note=f"kernels from the first position to the last {kernels}; {others}",
        )
    most = max(count for runtime, count in counts.items() if runtime != OVERHEAD_BOUND)
    yield at_least(
        f"positions with 7x7, {OVERHEAD_BOUND} against the most of the others",
        counts[OVERHEAD_BOUND],
        most + 1,
        unit="positions",
        note=f"of the paper's networks, {published_counts()}",
    )


def published_counts() -> str:
    """How many blocks of the published networks have 7x7."""
    parts = []
    for name in ("proxyless-gpu", "proxyless-cpu", "proxyless-mobile"):
        kernels = [op.kernel_size for op in build_network(name).ops if isinstance(op, MBConvSpec)][1:]
        parts.append(f"{name} has {kernels.count(KERNELS[-1])} of {len(kernels)}")
    return ", ".join(parts)


def large_count(prices: KernelPrices, share: float) -> int:
    return prices.chosen_kernels(share).count(KERNELS[-1])


def network_claims(space: SearchSpace, prices: Mapping[RuntimeName, KernelPrices]) -> Iterator[Claim]:
    """Each device's choice as a whole network, measured on it; the others' choices there beside it."""
    small = network_with(space, (KERNELS[0],) * len(space.positions), "3x3")
    chosen = {runtime: own.chosen_kernels(BUDGET_SHARE) for runtime, own in prices.items()}
    networks = {runtime: network_with(space, kernels, runtime) for runtime, kernels in chosen.items()}
    for runtime in prices:
        text = f"network with the kernels chosen for {runtime} over that of 3x3, measured there"
        try:
            found = {m.paid_ops: m for m in measure_here(runtime, [small, *networks.values()], quick=False).usable()}
        except ProxylessError as error:
            yield not_measured(text, f"<= {BUDGET_SHARE:g}", str(error).splitlines()[0])
            continue
        if any(paid_ops(one) not in found for one in (small, *networks.values())):
            yield not_measured(text, f"<= {BUDGET_SHARE:g}", "the machine slowed down meanwhile")
            continue
        base = found[paid_ops(small)]
        ratios = {name: found[paid_ops(one)].latency_ms / base.latency_ms for name, one in networks.items()}
        others = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items() if name != runtime)
        yield at_most(
            text,
            ratios[runtime],
            BUDGET_SHARE,
            unit="ratio",
            note=f"3x3 {base.latency_ms:.2f} ms; kernels chosen for {others}",
        )
        better = [
            name
            for name, kernels in chosen.items()
            if kernels != chosen[runtime] and ratios[name] <= BUDGET_SHARE and sum(kernels) >= sum(chosen[runtime])
        ]
        yield at_most(
            f"kernels chosen for another device that are as large and meet the budget on {runtime}, measured",
            len(better),
            0,
            unit=f"of {len(chosen) - 1}",
            note=f"sums of the kernels: {', '.join(f'{name} {sum(kernels)}' for name, kernels in chosen.items())}",
        )


def network_with(space: SearchSpace, kernels: Sequence[int], name: str) -> NetworkSpec:
    return space.network(space.choices_for([f"k{kernel} e{EXPANSION}" for kernel in kernels]), name)


if __name__ == "__main__":
    run_benchmark("large_kernels", measure)
