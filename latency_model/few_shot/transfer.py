"""A predictor for a new device: a few of its own networks, and the predictors of other devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from latency_model.errors import TooFewSamplesError
from latency_model.features import FloatArray
from latency_model.few_shot.items import Items, bag_of_ops, feature_groups, items_of_ops
from latency_model.few_shot.structured_gp import StructuredFit, choose_samples, fit_structured_gp
from latency_model.grain import described_for
from latency_model.measurement import MeasurementSet, paid_ops
from latency_model.network import NetworkSpec
from latency_model.network_latency import SHARED_TERMS, LatencyEstimate, NetworkLatency
from latency_model.ops import OpSpec
from latency_model.predictors.conformal import conformal_quantile

POOL_SIZE = 2000


@dataclasses.dataclass(frozen=True)
class Pool:
    """Networks of one space, seen from the source devices; what samples are chosen from and predicted for."""

    networks: tuple[tuple[OpSpec, ...], ...]
    ops: tuple[OpSpec, ...]
    counts: FloatArray
    items: Items
    source_tables: FloatArray


@dataclasses.dataclass(frozen=True)
class TransferredLatency:
    """Latency of a new device over a pool of networks: still a constant plus a sum over ops.

    Attributes:
        op_ms: what each op of the pool contributes; shares of differences, so a single one may be negative.
        interval_factor: standard deviations that hold ``confidence`` of networks.
    """

    pool: Pool
    fit: StructuredFit
    op_ms: dict[OpSpec, float]
    constant_ms: float
    interval_factor: float
    confidence: float

    def predict_networks(self) -> list[LatencyEstimate]:
        """One estimate per network of the pool, in its order."""
        latency = self.fit.predict_ms()
        half = self.interval_factor * self.fit.standard_deviation_ms()
        return [
            LatencyEstimate(float(ms), max(float(ms - width), 0.0), float(ms + width))
            for ms, width in zip(latency, half, strict=True)
        ]


def make_pool(networks: Sequence[NetworkSpec], sources: Sequence[NetworkLatency]) -> Pool:
    """Bring networks and source predictors together.

    Raises:
        UnknownOpError: a source does not know an op of the networks.
    """
    bags = tuple(paid_ops(network) for network in networks)
    counts, ops = bag_of_ops(bags)
    tables = []
    for source in sources:
        contribution = source.op_contribution_ms(ops)
        level = float((counts @ contribution).mean()) + source.constant_ms
        tables.append(contribution / level)
    return Pool(bags, ops, counts, items_of_ops(ops), np.array(tables).reshape(len(sources), len(ops)))


def choose_networks_to_measure(pool: Pool, count: int, seed: int = 0) -> list[int]:
    """Indices of the networks of the pool that teach the most about a device nobody has measured."""
    groups = feature_groups(pool.counts, pool.items, pool.source_tables)
    chosen = choose_samples(groups, count, pool_size=POOL_SIZE, rng=np.random.default_rng(seed))
    return [int(row) for row in chosen]


def transfer(pool: Pool, measurements: MeasurementSet, confidence: float = 0.9) -> TransferredLatency:
    """Predict a new device from those of its measurements that are networks of the pool.

    Raises:
        TooFewSamplesError: fewer than 3 of them.
    """
    row_of = {ops: row for row, ops in enumerate(pool.networks)}
    samples = [(row_of[m.paid_ops], m.latency_ms) for m in measurements.usable() if m.paid_ops in row_of]
    rows = np.array([row for row, _ in samples], dtype=np.int64)
    groups = feature_groups(pool.counts, pool.items, pool.source_tables)
    fit = fit_structured_gp(groups, rows, np.array([ms for _, ms in samples]))
    predicted = fit.predict_ms()
    op_ms, constant_ms = _as_table(pool.counts, predicted)
    return TransferredLatency(
        pool=pool,
        fit=fit,
        op_ms=dict(zip(pool.ops, map(float, op_ms), strict=True)),
        constant_ms=constant_ms,
        interval_factor=conformal_quantile(fit.left_out_scores(), confidence),
        confidence=confidence,
    )


def _as_table(counts: FloatArray, predicted_ms: FloatArray) -> tuple[FloatArray, float]:
    """The smallest op contributions that add up to the predictions; they do so exactly, as the model is linear."""
    design = np.column_stack([counts, np.ones(len(counts))])
    solution, *_ = np.linalg.lstsq(design, predicted_ms, rcond=None)
    return np.asarray(solution[:-1], dtype=np.float64), float(solution[-1])


def recalibrate(predictor: NetworkLatency, measurements: MeasurementSet) -> NetworkLatency:
    """Carry a predictor over to another unit of the same model: one factor from three whole networks.

    Two phones of one model differ by factors of 0.82-1.42; a predictor belongs to one of them. The interval is
    widened by how far the networks disagree about the factor.

    Raises:
        TooFewSamplesError: fewer than 3 whole networks.
    """
    networks = measurements.network_measurements()
    least = 3
    if len(networks) < least:
        raise TooFewSamplesError(f"{len(networks)} whole networks of the new unit; measure {least} or more.")
    own_ops = [described_for(predictor.op_predictor, m.paid_ops, m.identity.runtime) for m in networks]
    ratios = np.array(
        [m.latency_ms / predictor.predict_network(ops).latency_ms for m, ops in zip(networks, own_ops, strict=True)]
    )
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
    provenance = dataclasses.replace(predictor.provenance, identity=measurements.identity, network_count=len(networks))
    return dataclasses.replace(
        predictor,
        sum_factor=predictor.sum_factor * factor,
        kernel_ms=predictor.kernel_ms * factor,
        affine_constant_ms=predictor.affine_constant_ms * factor,
        correction=dataclasses.replace(correction, posterior=scaled),
        noise_share=float(np.hypot(predictor.noise_share, disagreement)),
        provenance=provenance,
        report_card=predictor.report_card
        | {"method": f"carried over from {predictor.provenance.identity}, scaled by {factor:.3f}; not judged anew"},
    )
