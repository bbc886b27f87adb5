"""A few-shot fit as a predictor of its own: op costs that a folder can hold, judged network by network.

The Gaussian process speaks of differences between networks: what a single op costs is open wherever networks do not
tell ops apart, and may come out negative. The saved table is the one nearest to what the sources say of each op,
with no op below ``LEAST_SHARE`` of that, among those that add up to the process's predictions over the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_model.calibration import NetworkTimings
from latency_model.correction import SHARED_TERMS, Correction
from latency_model.drift import correct_drift
from latency_model.errors import TooFewSamplesError
from latency_model.evaluate import error_figures
from latency_model.features import FloatArray
from latency_model.few_shot.baselines import best_source_rescaled, ridge_from_scratch
from latency_model.few_shot.device_conformal import SourceLabels, own_factor, rehearse, rehearsed_factor
from latency_model.few_shot.items import feature_groups
from latency_model.few_shot.structured_gp import LEAST_SAMPLES, StructuredFit, fit_structured_gp
from latency_model.few_shot.transfer import POOL_SIZE, Pool, in_ops_of_sources
from latency_model.fit import CONFIDENCE, git_commit
from latency_model.measurement import MeasurementSet
from latency_model.network_latency import NetworkLatency, Provenance
from latency_model.op_timings import OpTimings
from latency_model.posterior import LinearPosterior
from latency_model.predictors import TablePredictor
from latency_model.predictors.conformal import conformal_quantile, normal_quantile
from latency_model.report_card import calibrated_on_the_same, network_card

LEAST_SHARE = 0.05  # of what the sources say of an op: a cost of 0 would make a search choose it everywhere
_PULL = 0.01  # how much the sources' op costs weigh against the process's predictions: enough to settle what is open
LEAST_TO_JUDGE = LEAST_SAMPLES + 1

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Samples:
    """What was measured on the new device: ``rows`` of the pool and their latency."""

    rows: IntArray
    latency_ms: FloatArray


def samples_of(pool: Pool, sources: Sequence[NetworkLatency], measurements: MeasurementSet) -> Samples:
    """The new device's whole networks that stand in the pool of ``sources``.

    Raises:
        TooFewSamplesError: so few that none can be left out to judge the others by.
    """
    row_of = {ops: row for row, ops in enumerate(pool.networks)}
    at_one_pace, _ = correct_drift(measurements)
    measured = [(in_ops_of_sources(m.paid_ops, sources), m.latency_ms) for m in at_one_pace.network_measurements()]
    found = [(row_of[ops], latency_ms) for ops, latency_ms in measured if ops in row_of]
    if len(found) < LEAST_TO_JUDGE:
        raise TooFewSamplesError(
            f"{len(found)} whole networks of the new device; a transfer needs {LEAST_TO_JUDGE}, better 10 to 20. "
            "`proxyless transfer --choose 15` says which to measure."
        )
    return Samples(np.array([row for row, _ in found], dtype=np.int64), np.array([ms for _, ms in found]))


def transferred_predictor(
    pool: Pool, sources: Sequence[NetworkLatency], labels: Sequence[SourceLabels], measurements: MeasurementSet
) -> NetworkLatency:
    """A predictor of the new device with its report card: each sample predicted by all that is done without it.

    Args:
        sources: those that the pool was made with.
        labels: the networks of the pool measured on each source, empty where there are none.
    Raises:
        TooFewSamplesError: fewer than 4 samples.
    """
    samples = samples_of(pool, sources, measurements)
    groups = feature_groups(pool.counts, pool.items, pool.source_tables)
    prior = _prior_table(pool, sources, samples)
    fit = fit_structured_gp(groups, samples.rows, samples.latency_ms)
    op_ms, constant_ms = _as_costs(pool, fit.predict_ms(), prior)

    left_out = np.array([_left_out(pool, sources, samples, sample) for sample in range(len(samples.rows))])
    predicted, deviation_ms, rescaled, scratch = left_out.T
    scores = np.abs(predicted - samples.latency_ms) / deviation_ms
    widening, rehearsals = _widening(pool, labels, fit, len(samples.rows))
    gap = np.abs((pool.counts @ op_ms + constant_ms) / fit.predict_ms() - 1.0)
    # The samples are few, so they are believed by half (``device_conformal``): by the geometric mean with what the
    # process claims, which is that its errors are normal.
    factor = float(np.sqrt(widening * conformal_quantile(scores, CONFIDENCE) * normal_quantile(CONFIDENCE)))
    judged = NetworkTimings(
        networks=tuple(pool.networks[row] for row in samples.rows),
        latency_ms=samples.latency_ms,
        relative_error=np.zeros(len(scores)),
    )
    half_width = factor * deviation_ms
    card = calibrated_on_the_same(network_card(judged, judged, predicted, half_width, CONFIDENCE))
    card |= {
        "method": f"leave-one-out over {len(scores)} networks of this device, with {len(sources)} source devices; "
        f"the saved op costs differ from the fit by {gap.mean():.2%} on average over {len(pool.networks)} networks; "
        f"{rehearsals}",
        "baselines": {
            "best source rescaled": error_figures(samples.latency_ms, rescaled).to_json(),
            "ridge from scratch": error_figures(samples.latency_ms, scratch).to_json(),
        },
        "sources": [str(source.provenance.identity) for source in sources],
        "ops_method": "no op was measured alone on this device: costs of single ops are shares of whole networks",
    }
    return _assembled(pool, fit, op_ms, constant_ms, factor, measurements, card)


def _assembled(  # noqa: PLR0913, PLR0917 - the parts of one predictor
    pool: Pool,
    fit: StructuredFit,
    op_ms: FloatArray,
    constant_ms: float,
    factor: float,
    measurements: MeasurementSet,
    card: dict[str, Any],
) -> NetworkLatency:
    shared = len(SHARED_TERMS)
    of_items = [*range(len(pool.ops)), len(pool.ops) + SHARED_TERMS.index("constant")]
    covariance = np.zeros((len(pool.ops) + shared, len(pool.ops) + shared))
    covariance[np.ix_(of_items, of_items)] = fit.item_covariance_ms2(pool.counts)
    timings = OpTimings(ops=pool.ops, latency_ms=op_ms, relative_error=np.zeros(len(op_ms)))
    networks = measurements.network_measurements()
    return NetworkLatency(
        op_predictor=TablePredictor(timings, confidence=CONFIDENCE),
        sum_factor=1.0,
        kernel_ms=0.0,
        affine_constant_ms=constant_ms,
        correction=Correction(
            ops=pool.ops,
            posterior=LinearPosterior(np.zeros(len(covariance)), covariance, 0.0),
            op_spread=0.0,
            shared_scale=np.ones(shared),
        ),
        noise_share=fit.noise_share,
        interval_factor=factor,
        confidence=CONFIDENCE,
        provenance=Provenance(
            identity=measurements.identity,
            plan=dataclasses.asdict(measurements.measurements[0].plan),
            op_count=0,
            network_count=len(networks),
            proxyless_version=metadata.version("proxyless"),
            git_commit=git_commit(),
            fitted_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
        report_card=card,
    )


def source_latency_ms(pool: Pool, sources: Sequence[NetworkLatency]) -> FloatArray:
    """(networks, sources) of the pool."""
    columns = [pool.counts @ source.op_contribution_ms(pool.ops) + source.constant_ms for source in sources]
    return np.column_stack(columns)


def _prior_table(pool: Pool, sources: Sequence[NetworkLatency], samples: Samples) -> FloatArray:
    """(ops + 1,) what the sources say of each op and of the constant, each source at the new device's level."""
    levels = np.median(samples.latency_ms[:, None] / source_latency_ms(pool, sources)[samples.rows], axis=0)
    tables = [np.append(source.op_contribution_ms(pool.ops), source.constant_ms) for source in sources]
    prior = (levels[:, None] * np.array(tables)).mean(axis=0)
    return np.asarray(np.maximum(prior, 1e-3 * prior.mean()))


def _as_costs(pool: Pool, predicted_ms: FloatArray, prior: FloatArray) -> tuple[FloatArray, float]:
    """Op costs and the constant: the predictions over the pool, and towards ``prior`` where these leave it open."""
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    step = -(-len(predicted_ms) // POOL_SIZE)
    design = np.column_stack([pool.counts, np.ones(len(pool.counts))])[::step] * prior / predicted_ms[::step, None]
    least = np.append(np.full(len(pool.ops), LEAST_SHARE), 0.0)
    pull = _PULL * np.eye(len(prior))
    rows = np.concatenate([design, pull])
    targets = np.concatenate([np.ones(len(design)), np.full(len(prior), _PULL)])
    shares, _ = nnls(rows, targets - rows @ least)
    costs = (shares + least) * prior
    return np.asarray(costs[:-1]), float(costs[-1])


def _left_out(
    pool: Pool, sources: Sequence[NetworkLatency], samples: Samples, sample: int
) -> tuple[float, float, float, float]:
    """One sample predicted from the others: by the saved form, with its standard deviation, by the best source
    rescaled, and by ridge from scratch; ms."""
    rest = Samples(np.delete(samples.rows, sample), np.delete(samples.latency_ms, sample))
    row = int(samples.rows[sample])
    groups = feature_groups(pool.counts, pool.items, pool.source_tables)
    fit = fit_structured_gp(groups, rest.rows, rest.latency_ms)
    op_ms, constant_ms = _as_costs(pool, fit.predict_ms(), _prior_table(pool, sources, rest))
    rescaled = best_source_rescaled(source_latency_ms(pool, sources), rest.rows, rest.latency_ms)
    scratch = ridge_from_scratch(pool.counts, rest.rows, rest.latency_ms)
    own_ms, deviation_ms = float(pool.counts[row] @ op_ms) + constant_ms, float(fit.standard_deviation_ms()[row])
    return own_ms, deviation_ms, float(rescaled[row]), float(scratch[row])


def _widening(pool: Pool, labels: Sequence[SourceLabels], fit: StructuredFit, count: int) -> tuple[float, str]:
    """How much wider than its own errors say an interval must be, as each source showed in the new device's place."""
    scores = rehearse(pool.counts, pool.items, pool.source_tables, labels, count, np.random.default_rng(0))
    if not scores:
        return 1.0, "intervals from these errors alone, as no two sources have enough networks to rehearse on"
    widening = max(rehearsed_factor(fit, scores, CONFIDENCE) / own_factor(fit, CONFIDENCE), 1.0)
    return widening, f"intervals {widening:.2f} times as wide, as {len(scores)} sources showed in the new one's place"
