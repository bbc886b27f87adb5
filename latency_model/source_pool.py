"""The pool of a transfer: all whole networks at hand that every source device can speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency_model.drift import correct_drift
from latency_model.errors import LatencyModelError, TooFewSamplesError, UnknownOpError
from latency_model.few_shot.device_conformal import SourceLabels
from latency_model.few_shot.transfer import Pool, in_ops_of_sources, make_pool
from latency_model.measurement import DeviceIdentity, MeasurementSet, paid_ops
from latency_model.network import NetworkSpec
from latency_model.network_latency import NetworkLatency
from latency_model.ops import OpSpec


@dataclass(frozen=True, kw_only=True)
class SourcePool:
    """What ``transfer`` works on.

    Attributes:
        specs: one per network of the pool.
        labels: what each source measured of the pool.
        left_out: names of networks with ops that some source does not know.
    """

    pool: Pool
    specs: tuple[NetworkSpec, ...]
    labels: tuple[SourceLabels, ...]
    left_out: tuple[str, ...]


def pool_of(
    sources: Sequence[MeasurementSet],
    predictors: Sequence[NetworkLatency],
    extra: Sequence[NetworkSpec],
    target: MeasurementSet | None,
) -> SourcePool:
    """Whole networks of the sources, ``extra`` ones, and those of the new device.

    Args:
        predictors: one per source, fitted on it.
    Raises:
        LatencyModelError: a device stands twice among the sources and the new one.
        UnknownOpError: the new device's networks hold an op that a source cannot speak of.
        TooFewSamplesError: no network at all.
    """
    _check_distinct([device.identity for device in (*sources, *([] if target is None else [target]))])
    measured = [m.network for source in sources for m in source.network_measurements()]
    needed = () if target is None else tuple(m.network for m in target.network_measurements())
    kept = {in_ops_of_sources(paid_ops(network), predictors): network for network in needed}
    left_out: dict[str, UnknownOpError] = {}
    for network in (*measured, *extra):
        ops = in_ops_of_sources(paid_ops(network), predictors)
        if ops in kept:
            continue
        if (unknown := _what_is_unknown(ops, predictors)) is None:
            kept[ops] = network
        else:
            left_out.setdefault(network.name, unknown)
    if not kept and left_out:
        name, why = next(iter(left_out.items()))
        raise TooFewSamplesError(
            f"None of {len(left_out)} networks can be used, as each holds ops that a source cannot speak of. {name}: "
            f"{why} Measure all sources in one grain, blocks or kernels, of the same space."
        )
    if not kept:
        raise TooFewSamplesError(
            "No whole networks among the sources' measurements; give networks of the space with --network."
        )
    row_of = {ops: row for row, ops in enumerate(kept)}
    labels = []
    for source in sources:
        at_one_pace, _ = correct_drift(source)
        networks = at_one_pace.network_measurements()
        described = [(in_ops_of_sources(m.paid_ops, predictors), m.latency_ms) for m in networks]
        seen = [(row_of[ops], latency_ms) for ops, latency_ms in described if ops in row_of]
        rows = np.array([row for row, _ in seen], dtype=np.int64)
        labels.append(SourceLabels(rows, np.array([ms for _, ms in seen])))
    return SourcePool(
        pool=make_pool(tuple(kept), predictors),
        specs=tuple(kept.values()),
        labels=tuple(labels),
        left_out=tuple(left_out),
    )


def _what_is_unknown(ops: Sequence[OpSpec], predictors: Sequence[NetworkLatency]) -> UnknownOpError | None:
    """Why a source cannot speak of a network; None where all can."""
    try:
        for predictor in predictors:
            predictor.op_contribution_ms(ops)
    except UnknownOpError as error:
        return error
    return None


def _check_distinct(identities: Sequence[DeviceIdentity]) -> None:
    """A device that is its own source would be predicted by what was measured on it, and look right for that."""
    for identity, count in Counter(identities).items():
        if count > 1:
            raise LatencyModelError(
                f"{identity} stands {count} times among the sources and the new device. Name each device once; what "
                "was measured on the new one itself makes its predictor with `proxyless fit`."
            )
