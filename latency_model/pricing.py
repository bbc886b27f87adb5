"""A network's price by a predictor of blocks or of kernels, and how much of it was never measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from latency_model.errors import UnknownOpError
from latency_model.fusion.rules import rules_file
from latency_model.grain import described_for, kernels_run_by
from latency_model.kernels import bytes_moved, macs
from latency_model.network_files import NamedNetwork
from latency_model.network_latency import LatencyEstimate, NetworkLatency
from latency_model.ops import IdentitySpec, OpSpec, ZeroSpec
from latency_model.predictors.fitted_on import measured_ops
from latency_model.predictors.regression import kind_in_dtype

Grain: TypeAlias = Literal["ops", "kernels"]
# An op that is this much larger or smaller than all that were measured of its kind is a guess, whatever the model.
_REACH = 1.5
# Published tables leave the cheap end of a network out, such as its pooling; more than this is no price of it.
_MOST_LEFT_OUT_MACS = 0.01
_CLAMPS = ("none", "relu", "relu6")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a network costs.

    Attributes:
        grain: "ops" as the file describes them (a foreign network with its blocks put together), or "kernels".
        unmeasured: distinct ops that only a regressor speaks of.
        out_of_reach: those of them far larger or smaller than what was measured of their like, or like nothing that
            was; the interval is calibrated on ops within reach, so it promises nothing for these.
        left_out: distinct ops of kinds that a table lacks, so that the estimate is without them. Only where no whole
            network calibrated the predictor, and they are few: any other predictor refuses the network.
    """

    estimate: LatencyEstimate
    grain: Grain
    op_count: int
    unmeasured: tuple[OpSpec, ...]
    out_of_reach: tuple[OpSpec, ...]
    left_out: tuple[OpSpec, ...] = ()

    @property
    def half_width_share(self) -> float:
        """Half the interval as a share of the latency; 0 of a network that costs nothing."""
        if self.estimate.latency_ms == 0:
            return 0.0
        return (self.estimate.high_ms - self.estimate.low_ms) / 2 / self.estimate.latency_ms


def price_network(predictor: NetworkLatency, network: NamedNetwork) -> Price:
    """By ops or by kernels, whichever the predictor knows; where it knows both, whichever it is surer of.

    Raises:
        UnknownOpError: it knows neither, with the mend.
    """
    runtime = predictor.provenance.identity.runtime
    prices, refused = [], []
    for grain, ops in _descriptions(predictor, network, runtime):
        try:
            prices.append(_price(predictor, grain, ops))
        except UnknownOpError as error:
            refused.append(error)
    if prices:
        return min(prices, key=lambda price: price.half_width_share)
    fewest = min(refused, key=lambda error: len(error.unknown))
    raise UnknownOpError(
        fewest.unknown,
        fewest.known,
        f"{fewest.why} Measure what {network.name} is made of with `proxyless campaign DEVICE.yaml {network.name} "
        "--grain kernels --out FILE.jsonl`, and fit a predictor on that.",
    ) from fewest


def _descriptions(
    predictor: NetworkLatency, network: NamedNetwork, runtime: str
) -> list[tuple[Grain, tuple[OpSpec, ...]]]:
    described = described_for(predictor.op_predictor, network.ops, runtime)
    grain: Grain = "ops" if described == network.ops else "kernels"
    found: list[tuple[Grain, tuple[OpSpec, ...]]] = [(grain, described)]
    kernels = network.kernels.ops
    if all(rules_file(runtime, op.dtype).exists() for op in kernels):
        found.append(("kernels", kernels_run_by(runtime, kernels)))
    return found


def _price(predictor: NetworkLatency, grain: Grain, all_ops: tuple[OpSpec, ...]) -> Price:
    measured = measured_ops(predictor.op_predictor)
    known = set(measured)
    left_out = () if predictor.is_calibrated else _without_a_kind(all_ops, measured)
    ops = tuple(op for op in all_ops if op not in left_out)
    estimate = predictor.predict_network(ops)
    paid = dict.fromkeys(op for op in ops if not isinstance(op, IdentitySpec | ZeroSpec))
    unmeasured = tuple(op for op in paid if op not in known)
    alike: dict[tuple[object, ...], list[OpSpec]] = {}
    for op in measured if unmeasured else ():
        alike.setdefault(_likeness(op), []).append(op)
    return Price(
        estimate=estimate,
        grain=grain,
        op_count=sum(not isinstance(op, IdentitySpec | ZeroSpec) for op in ops),
        unmeasured=unmeasured,
        out_of_reach=tuple(op for op in unmeasured if not _is_within_reach(op, alike.get(_likeness(op), ()))),
        left_out=left_out,
    )


def _without_a_kind(ops: Sequence[OpSpec], measured: Sequence[OpSpec]) -> tuple[OpSpec, ...]:
    """The distinct ops of kinds that a table lacks, where they are a small part of the network; else none of them."""
    kinds = {op.kind for op in measured}
    lacking = [op for op in ops if op.kind not in kinds and not isinstance(op, IdentitySpec | ZeroSpec)]
    most_macs = _MOST_LEFT_OUT_MACS * sum(map(macs, ops))
    if most_macs == 0 or sum(map(macs, lacking)) > most_macs:
        return ()
    return tuple(dict.fromkeys(lacking))


def _is_within_reach(op: OpSpec, alike: Sequence[OpSpec]) -> bool:
    """Whether its multiply-accumulates and its bytes lie near those of measured ops that are like it."""
    if not alike:
        return False
    for size in (macs, bytes_moved):
        sizes = [size(other) for other in alike]
        if not min(sizes) / _REACH <= size(op) <= max(sizes) * _REACH:
            return False
    return True


def _likeness(op: OpSpec) -> tuple[object, ...]:
    """What makes ops differ by more than their size: kernels of other activations, pools or grouping are other code.

    No activation and clamps are alike: every runtime that was observed runs them inside a convolution.
    """
    activation = getattr(op, "activation", "none")
    return (
        *kind_in_dtype(op),
        "clamp" if activation in _CLAMPS else activation,
        getattr(op, "pool", None),
        getattr(op, "gate", None),
        getattr(op, "groups", 1) > 1,
        getattr(op, "squeeze_channels", None) is None,
    )
