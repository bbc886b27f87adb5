"""A predictor for a new device: a few of its own networks, and the predictors of other devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from latency_model.correction import SHARED_TERMS
from latency_model.drift import correct_drift
from latency_model.errors import PredictorMismatchError, TooFewSamplesError
from latency_model.features import FloatArray
from latency_model.few_shot.items import Items, bag_of_ops, feature_groups, items_of_ops
from latency_model.few_shot.structured_gp import choose_samples
from latency_model.fit import network_timings
from latency_model.grain import described_for
from latency_model.level_check import require_same_unit
from latency_model.measurement import DeviceIdentity, MeasurementSet
from latency_model.network_latency import NetworkLatency
from latency_model.ops import OpSpec
from latency_model.report_card import network_card

POOL_SIZE = 2000
_SETTINGS = ("runtime", "runtime_version", "thread_count", "accelerator", "core_mask", "burst_warmup_runs")


@dataclasses.dataclass(frozen=True)
class Pool:
    """Networks of one space, seen from the source devices; what samples are chosen from and predicted for."""

    networks: tuple[tuple[OpSpec, ...], ...]
    ops: tuple[OpSpec, ...]
    counts: FloatArray
    items: Items
    source_tables: FloatArray


def in_ops_of_sources(ops: Sequence[OpSpec], sources: Sequence[NetworkLatency]) -> tuple[OpSpec, ...]:
    """A network as the sources were measured: in its own ops, or in the kernels that these run as."""
    return described_for(sources[0].op_predictor, ops, sources[0].provenance.identity.runtime)


def make_pool(networks: Sequence[tuple[OpSpec, ...]], sources: Sequence[NetworkLatency]) -> Pool:
    """Bring networks, as ``in_ops_of_sources`` describes them, and source predictors together.

    Raises:
        UnknownOpError: a source does not know an op of the networks.
    """
    counts, ops = bag_of_ops(networks)
    tables = []
    for source in sources:
        contribution = source.op_contribution_ms(ops)
        level = float((counts @ contribution).mean()) + source.constant_ms
        tables.append(contribution / level)
    return Pool(tuple(networks), ops, counts, items_of_ops(ops), np.array(tables).reshape(len(sources), len(ops)))


def choose_networks_to_measure(pool: Pool, count: int, seed: int = 0) -> list[int]:
    """Indices of the networks of the pool that teach the most about a device nobody has measured."""
    groups = feature_groups(pool.counts, pool.items, pool.source_tables)
    chosen = choose_samples(groups, count, pool_size=POOL_SIZE, rng=np.random.default_rng(seed))
    return [int(row) for row in chosen]


def recalibrate(predictor: NetworkLatency, measurements: MeasurementSet) -> NetworkLatency:
    """Carry a predictor over to another unit of the same model: one factor from three whole networks.

    Two phones of one model differ by factors of 0.82-1.42; a predictor belongs to one of them. The interval is
    widened by how far the networks disagree about the factor. The report card judges each network by a factor that
    the others gave; what was said of the first unit stays under "source".

    Raises:
        PredictorMismatchError: another runtime, version, thread count, accelerator or cores: no one factor then; or of
            no measured device at all.
        TooFewSamplesError: fewer than 3 whole networks.
        MeasurementError: a factor beyond 30, as units of measure differ and units of one model never do.
    """
    if not predictor.is_calibrated:
        raise PredictorMismatchError(
            f"The predictor is a plain sum of {predictor.provenance}: it is no unit's, to be carried to another one. "
            "Calibrate it with the networks instead: `proxyless fit TABLE --networks FILE.jsonl`."
        )
    _check_same_settings(predictor.provenance.identity, measurements.identity)
    at_one_pace, _ = correct_drift(measurements)
    networks = at_one_pace.network_measurements()
    least = 3
    if len(networks) < least:
        raise TooFewSamplesError(f"{len(networks)} whole networks of the new unit; measure {least} or more.")
    timings = network_timings(networks, predictor.op_predictor)
    predicted = np.array([predictor.predict_network(ops).latency_ms for ops in timings.networks])
    ratios = timings.latency_ms / predicted
    require_same_unit(
        float(np.median(ratios)),
        "what the predictor says of them",
        "No two units of one model are that far apart; one of them was not measured in milliseconds: measure it again.",
    )
    carried = _scaled(predictor, ratios)
    left_out = [_scaled(predictor, np.delete(ratios, row)) for row in range(len(ratios))]
    estimates = [other.predict_network(ops) for other, ops in zip(left_out, timings.networks, strict=True)]
    found = np.array([estimate.latency_ms for estimate in estimates])
    half_width = np.array([estimate.high_ms for estimate in estimates]) - found
    card = network_card(timings, timings, found, half_width, predictor.confidence)
    card |= {
        "method": f"carried over from {predictor.provenance.identity}, scaled by {np.median(ratios):.3f}; "
        f"leave-one-out over {len(networks)} networks of this unit",
        "ops_method": "no op was measured alone on this unit: each is that of the source, scaled",
        "source": predictor.report_card | {"device": str(predictor.provenance.identity)},
    }
    provenance = dataclasses.replace(
        predictor.provenance,
        identity=measurements.identity,
        plan=dataclasses.asdict(measurements.measurements[0].plan),
        network_count=len(networks),
        op_count=0,
    )
    return dataclasses.replace(carried, provenance=provenance, report_card=card)


def _check_same_settings(source: DeviceIdentity, unit: DeviceIdentity) -> None:
    """Units may differ, settings may not: ops change by factors of their own between runtimes or thread counts."""
    differing = [name for name in _SETTINGS if getattr(source, name) != getattr(unit, name)]
    if differing:
        names = ", ".join(name.replace("_", " ") for name in differing)
        raise PredictorMismatchError(
            f"The predictor was fitted on {source}; the networks were measured on {unit}: they differ in {names}, and "
            "one factor cannot carry that over. Measure with the same settings, or use `proxyless transfer`."
        )


def _scaled(predictor: NetworkLatency, ratios: FloatArray) -> NetworkLatency:
    """The predictor at the level that the ratios of measured to predicted say, less sure by their disagreement."""
    factor = float(np.median(ratios))
    disagreement = float(np.abs(ratios / factor - 1.0).max())
    correction = predictor.correction
    posterior = correction.posterior
    # Shifts are milliseconds and scale; that of the "sum" term is a share of what scales already.
    scale = np.full(len(posterior.mean), factor)
    scale[len(correction.ops) + SHARED_TERMS.index("sum")] = 1.0
    scaled = dataclasses.replace(
        posterior, mean=posterior.mean * scale, covariance=posterior.covariance * np.outer(scale, scale)
    )
    return dataclasses.replace(
        predictor,
        sum_factor=predictor.sum_factor * factor,
        kernel_ms=predictor.kernel_ms * factor,
        affine_constant_ms=predictor.affine_constant_ms * factor,
        correction=dataclasses.replace(correction, posterior=scaled),
        noise_share=float(np.hypot(predictor.noise_share, disagreement)),
        growth=predictor.growth.scaled(factor),
        kept=None,  # errors in standard deviations of the first unit
    )
