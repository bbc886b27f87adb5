"""The pool of a transfer: all whole networks at hand that every source device can speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency_model.errors import LatencyModelError, TooFewSamplesError, UnknownOpError
from latency_model.few_shot.device_conformal import SourceLabels
from latency_model.few_shot.transfer import Pool, make_pool
from latency_model.measurement import DeviceIdentity, MeasurementSet, paid_ops
from latency_model.network import NetworkSpec
from latency_model.network_latency import NetworkLatency


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
    kept: dict[object, NetworkSpec] = {paid_ops(network): network for network in needed}
    left_out = []
    for network in (*measured, *extra):
        if paid_ops(network) in kept:
            continue
        if _is_known(network, predictors):
            kept[paid_ops(network)] = network
        else:
            left_out.append(network.name)
    if not kept:
        raise TooFewSamplesError(
            "No whole networks among the sources' measurements; give networks of the space with --network."
        )
    specs = tuple(kept.values())
    row_of = {paid_ops(network): row for row, network in enumerate(specs)}
    labels = []
    for source in sources:
        seen = [(row_of[m.paid_ops], m.latency_ms) for m in source.network_measurements() if m.paid_ops in row_of]
        rows = np.array([row for row, _ in seen], dtype=np.int64)
        labels.append(SourceLabels(rows, np.array([ms for _, ms in seen])))
    return SourcePool(
        pool=make_pool(specs, predictors), specs=specs, labels=tuple(labels), left_out=tuple(dict.fromkeys(left_out))
    )


def _is_known(network: NetworkSpec, predictors: Sequence[NetworkLatency]) -> bool:
    try:
        for predictor in predictors:
            predictor.op_contribution_ms(paid_ops(network))
    except UnknownOpError:
        return False
    return True


def _check_distinct(identities: Sequence[DeviceIdentity]) -> None:
    """A device that is its own source would be predicted by what was measured on it, and look right for that."""
    for identity, count in Counter(identities).items():
        if count > 1:
            raise LatencyModelError(
                f"{identity} stands {count} times among the sources and the new device. Name each device once; what "
                "was measured on the new one itself makes its predictor with `proxyless fit`."
            )
