"""Hand-made baselines: a network with one block throughout, as wide as the budget allows on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from latency_model.measurement import paid_ops
from latency_model.network import NetworkSpec
from latency_model.ops import MBConvSpec
from search.networks import networks_between, scaled_network
from search.space import SearchSpace

WIDTH_STEP = 0.025
USUAL_WIDTHS = tuple(round(0.3 + WIDTH_STEP * step, 3) for step in range(29))
NARROWER_WIDTHS = (0.25, 0.2, 0.15, 0.1)
WIDER_STEPS = 8
WIDEST = 8.0
BETWEEN = 4
ROUNDING = 0.1
"""Of a step: widths this near to each other are one."""
LatencyMs = dict[tuple[Any, ...], float]
TimeNetworks = Callable[[Sequence[NetworkSpec]], LatencyMs]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The block of which a network is made by hand: ``k3-e6`` is MobileNetV2's."""

    kernel_size: int
    expansion: float

    def __str__(self) -> str:
        return f"k{self.kernel_size}-e{self.expansion:g}"

    def of(self, reference: NetworkSpec) -> NetworkSpec:
        """The reference with this block wherever it has one that expands."""
        layers = tuple(
            (name, self._block(op) if isinstance(op, MBConvSpec) and op.expansion > 1 else op)
            for name, op in reference.layers
        )
        return replace(reference, layers=layers)

    def _block(self, op: MBConvSpec) -> MBConvSpec:
        return replace(op, kernel_size=self.kernel_size, expand_channels=round(op.in_channels * self.expansion))


def kinds_of(space: SearchSpace, reference: NetworkSpec) -> list[Kind]:
    """The blocks that the space offers, small kernels first and wide before narrow, without those that make the
    reference itself."""
    offered = {
        Kind(kernel_size=op.kernel_size, expansion=op.expansion)
        for position in space.positions
        for op in (candidate.op for candidate in position.candidates)
        if isinstance(op, MBConvSpec) and op.expansion > 1
    }
    ordered = sorted(offered, key=lambda kind: (kind.kernel_size, -kind.expansion))
    return [kind for kind in ordered if kind.of(reference) != reference]


def by_usual_widths(reference: NetworkSpec, name: str) -> list[NetworkSpec]:
    return [scaled_network(reference, width, name) for width in USUAL_WIDTHS]


def nearest_handmade(
    reference: NetworkSpec, name: str, target_ms: float, time_ms: TimeNetworks
) -> tuple[NetworkSpec, float]:
    """The reference at the width that comes nearest to the budget from below, and what it takes on the device.

    Where the usual widths all lie on one side of the budget, wider or narrower ones are timed too. Widths are rounded
    to whole channels, so the widest that fits can lie far below the budget: networks between it and the next wider
    ones are timed as well, each once.

    Returns:
        When nothing fits, the fastest of all.
    """
    widths = {width: scaled_network(reference, width, name) for width in USUAL_WIDTHS}
    latency_ms = time_ms(list(widths.values()))
    while more := _more_widths(widths, latency_ms, target_ms):
        widths |= {width: scaled_network(reference, width, name) for width in more}
        latency_ms |= time_ms([widths[width] for width in more])
    between = _between(reference, widths, latency_ms, target_ms)
    latency_ms |= time_ms(between)
    nearest = nearest_under([*widths.values(), *between], latency_ms, target_ms)
    return nearest, latency_ms[paid_ops(nearest)]


def nearest_under(networks: Sequence[NetworkSpec], latency_ms: LatencyMs, target_ms: float) -> NetworkSpec:
    """The slowest network within the budget; when none is, the fastest of all."""
    within = [network for network in networks if latency_ms[paid_ops(network)] <= target_ms]
    if within:
        return max(within, key=lambda network: latency_ms[paid_ops(network)])
    return min(networks, key=lambda network: latency_ms[paid_ops(network)])


def _more_widths(widths: dict[float, NetworkSpec], latency_ms: LatencyMs, target_ms: float) -> tuple[float, ...]:
    """Widths beyond those that were timed, while the budget lies beyond them; then those at the usual distance between
    the two that it lies between."""
    widest = max(widths)
    timed = {width: latency_ms[paid_ops(network)] for width, network in widths.items()}
    fitting = [width for width, ms in timed.items() if ms <= target_ms]
    if not fitting:
        return tuple(width for width in NARROWER_WIDTHS if width < min(widths))
    if widest in fitting:
        if widest >= WIDEST:
            return ()
        end = min(WIDEST, widest * max(1.1, target_ms / timed[widest]))  # latency grows faster than width, if anything
        return tuple(round(widest + (end - widest) * step / WIDER_STEPS, 3) for step in range(1, WIDER_STEPS + 1))
    last = max(fitting)
    following = min(width for width in timed if width > last)
    count = int((following - last) / WIDTH_STEP - ROUNDING)
    return tuple(round(last + WIDTH_STEP * step, 3) for step in range(1, count + 1))


def _between(
    reference: NetworkSpec, widths: dict[float, NetworkSpec], latency_ms: LatencyMs, target_ms: float
) -> list[NetworkSpec]:
    timed = {width: latency_ms[paid_ops(network)] for width, network in widths.items()}
    fitting = [width for width, ms in timed.items() if ms <= target_ms]
    if not fitting:
        return []
    last = max(fitting, key=lambda width: timed[width])
    wider = sorted(width for width, ms in timed.items() if width > last and ms > target_ms)
    found = {
        paid_ops(network): network
        for width in wider[:BETWEEN]
        for network in networks_between(reference, last, width, widths[last].name)
    }
    return list(found.values())
