"""From a set of measurements to a predictor of whole networks, with its report card."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from latency_model.calibration import (
    Calibration,
    NetworkTimings,
    cross_validate,
    fit_calibration,
    interval_scores,
)
from latency_model.drift import correct_drift, describe_drift
from latency_model.errors import LatencyModelError, TooFewSamplesError, UnknownOpError
from latency_model.fusion import observed_with, rules_doubt
from latency_model.grain import check_one_grain, described_for
from latency_model.level_check import check_level
from latency_model.measurement import DeviceIdentity, Measurement, MeasurementSet, paid_ops
from latency_model.network import NetworkSpec
from latency_model.network_latency import NetworkLatency, Provenance, check_predictor_matches
from latency_model.noise import describe_noise
from latency_model.op_timings import OpTimings, check_units
from latency_model.ops import OpSpec
from latency_model.other_confidence import KeptScores, hidden_factor
from latency_model.predictors import (
    LatencyPredictor,
    MeasuredFirstPredictor,
    MlpPredictor,
    RandomForestPredictor,
    RooflinePredictor,
    TablePredictor,
    XGBoostPredictor,
)
from latency_model.predictors.auto import fit_auto
from latency_model.predictors.conformal import conformal_quantile
from latency_model.report_card import calibrated_on_the_same, network_card, op_card
from latency_model.unmeasured import hidden_scores

CONFIDENCE = 0.9
SEED = 0
FITTERS: dict[str, Callable[..., LatencyPredictor]] = {
    "table": TablePredictor.fit,
    "roofline": RooflinePredictor.fit,
    "forest": RandomForestPredictor.fit,
    "xgboost": XGBoostPredictor.fit,
    "mlp": MlpPredictor.fit,
}
MODELS = ("auto", *FITTERS)


def fit_predictor(
    measurements: MeasurementSet,
    model: str = "auto",
    *,
    held_out: Collection[NetworkSpec] = (),
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> NetworkLatency:
    """Fit an op predictor on the single ops and calibrate it on the whole networks.

    Args:
        model: "auto", or an op predictor by name.
        held_out: networks to judge by: the figures come from a fit that did not see them, the predictor that is
            returned from one that did. Without any, all networks judge by cross-validation.
        confidence: what the intervals shall hold.
    Raises:
        LatencyModelError: an unknown model, or a network to hold out that was not measured.
        MeasurementError: blocks and the kernels they run as, mixed, or latencies that no device could have.
        TooFewSamplesError: too few ops or networks.
        UnknownOpError: a network holds an op that a table alone does not have.
    """
    timings = measurements.op_timings()
    check_units(timings.ops, timings.latency_ms)
    check_one_grain([m.paid_ops[0] for m in measurements.op_measurements()], measurements.identity.runtime)
    measurements, drift = correct_drift(measurements)
    predictor, reason = fit_ops(measurements.op_timings(), model, confidence, seed)
    kept_out = _measured_ones(held_out, measurements)
    networks = measurements.network_measurements()
    _require_known_ops(predictor, networks)
    check_level(
        network_timings(networks, predictor),
        predictor,
        "measured alone",
        "Some of these are not in milliseconds, as all measurements of ours are: measure them again.",
    )
    judged = [m for m in networks if m.paid_ops in kept_out]
    rest = [m for m in networks if m.paid_ops not in kept_out]
    fitted = fit_network_latency(predictor, rest, confidence=confidence, seed=seed)
    card = dict(fitted.report_card)
    if judged:
        card = _judge(fitted, network_timings(judged, predictor), network_timings(rest, predictor))
        fitted = fit_network_latency(predictor, networks, confidence=confidence, seed=seed)
    card |= op_card(predictor, measurements.op_timings())
    card |= {"model": predictor.kind, "model_reason": reason, "drift": describe_drift(drift)}
    card["noise"] = describe_noise(measurements)
    return dataclasses.replace(fitted, provenance=_provenance(measurements, networks), report_card=card)


def _measured_ones(held_out: Collection[NetworkSpec], measurements: MeasurementSet) -> set[tuple[OpSpec, ...]]:
    """The ops of the networks to hold out; one that was measured only while the device was throttled is no error."""
    measured = {measurement.paid_ops for measurement in measurements.measurements}
    if strangers := [network.name for network in held_out if paid_ops(network) not in measured]:
        raise LatencyModelError(
            f"{len(strangers)} of {len(held_out)} networks to hold out were not measured: {', '.join(strangers[:5])}. "
            "Measure them, or leave them out of held_out."
        )
    return {paid_ops(network) for network in held_out}


def _require_known_ops(predictor: LatencyPredictor, networks: Sequence[Measurement]) -> None:
    for network in networks:
        try:
            predictor.predict_ms(described_for(predictor, network.paid_ops, network.identity.runtime))
        except UnknownOpError as error:
            other = ", or fit with `--model auto`, which speaks of ops between measured ones"
            mend = (
                f"measure it alone, too (`proxyless campaign`){other if isinstance(predictor, TablePredictor) else ''}"
            )
            raise UnknownOpError(
                error.unknown,
                error.known,
                f"{error.why} The network {network.network.name!r} holds it: {mend}.",
            ) from error


def _judge(fitted: NetworkLatency, judged: NetworkTimings, rest: NetworkTimings) -> dict[str, Any]:
    """Report card on networks that the fit did not see; they join the predictor once it is judged."""
    estimates = [fitted.predict_network(ops) for ops in judged.networks]
    predicted = np.array([estimate.latency_ms for estimate in estimates])
    half_width = np.array([estimate.high_ms for estimate in estimates]) - predicted
    card = network_card(judged, rest, predicted, half_width, fitted.confidence)
    card["method"] = (
        f"{len(judged)} held-out networks, predicted by a fit on {len(rest)} others; "
        f"the predictor was then fitted on all {len(judged) + len(rest)}"
    )
    return card


def fit_network_latency(
    predictor: LatencyPredictor,
    network_measurements: Sequence[Measurement],
    *,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> NetworkLatency:
    """Calibrate a given op predictor on whole networks.

    Raises:
        TooFewSamplesError: fewer than 4 networks.
    """
    timings = network_timings(network_measurements, predictor)
    calibration = fit_calibration(predictor, timings)
    hidden = np.zeros((0, 3))
    if isinstance(predictor, MeasuredFirstPredictor) and predictor.regressor.kind in FITTERS:
        fit_regressor = partial(FITTERS[predictor.regressor.kind], seed=seed, confidence=predictor.confidence)
        hidden = hidden_scores(predictor, calibration, timings, fit_regressor, seed=seed)
    unmeasured_factor = 1.0 if len(hidden) else None
    predicted, std = cross_validate(predictor, timings, calibration.spreads, unmeasured_factor, seed)
    scores = interval_scores(timings, predicted, std)
    factor = conformal_quantile(scores, confidence)
    card = calibrated_on_the_same(network_card(timings, timings, predicted, factor * std, confidence))
    card["method"] = f"cross-validation over {len(timings)} networks, each predicted without it"
    provenance = _provenance(MeasurementSet(tuple(network_measurements)), network_measurements)
    fitted = _assemble(predictor, calibration, factor, confidence, provenance, card)
    return dataclasses.replace(
        fitted, unmeasured_factor=hidden_factor(hidden, factor, confidence), kept=KeptScores(scores, hidden)
    )


def corrected_by(predictor: LatencyPredictor, profile: MeasurementSet, more: Sequence[Measurement]) -> NetworkLatency:
    """Calibrate an op predictor again as ``fit_predictor`` did on ``profile``, with networks that were timed since.

    Raises:
        TooFewSamplesError: fewer than 4 networks in all.
    """
    at_one_pace, _ = correct_drift(profile)
    return fit_network_latency(predictor, [*at_one_pace.network_measurements(), *more])


def judge_on(predictor: NetworkLatency, measurements: MeasurementSet) -> dict[str, Any]:
    """Report card of a finished predictor on measurements of the same device.

    Raises:
        PredictorMismatchError: they are of another device, runtime or thread count.
        TooFewSamplesError: they hold no whole network.
    """
    check_predictor_matches(predictor, measurements.identity)
    measurements, drift = correct_drift(measurements)
    timings = network_timings(measurements.network_measurements(), predictor.op_predictor)
    if not len(timings):
        raise TooFewSamplesError("No whole networks among the measurements to judge by; profile some.")
    card = _judge(predictor, timings, timings)
    card["method"] = f"{len(timings)} measured networks, whether or not the predictor was fitted on them"
    card["drift"] = describe_drift(drift)
    return card


def network_timings(measurements: Sequence[Measurement], predictor: LatencyPredictor) -> NetworkTimings:
    """Whole networks as arrays, in the ops that the predictor knows: their own, or the kernels that these run as."""
    return NetworkTimings(
        networks=tuple(described_for(predictor, m.paid_ops, m.identity.runtime) for m in measurements),
        latency_ms=np.array([m.latency_ms for m in measurements]),
        relative_error=np.array([m.spread for m in measurements]),
    )


def fit_ops(timings: OpTimings, model: str, confidence: float, seed: int) -> tuple[LatencyPredictor, str]:
    """The op predictor that was asked for, and why this one.

    Raises:
        LatencyModelError: an unknown model.
        TooFewSamplesError: too few ops for it.
    """
    if model == "auto":
        return fit_auto(timings, seed=seed, confidence=confidence)
    if model not in FITTERS:
        raise LatencyModelError(f"Unknown model {model!r}; use one of {', '.join(MODELS)}.")
    return FITTERS[model](timings, seed=seed, confidence=confidence), "asked for"


def _assemble(
    predictor: LatencyPredictor,
    calibration: Calibration,
    factor: float,
    confidence: float,
    provenance: Provenance,
    card: dict[str, Any],
) -> NetworkLatency:
    return NetworkLatency(
        op_predictor=predictor,
        sum_factor=calibration.sum_factor,
        kernel_ms=calibration.kernel_ms,
        affine_constant_ms=calibration.constant_ms,
        correction=calibration.correction,
        noise_share=calibration.noise_share,
        growth=calibration.growth,
        interval_factor=factor,
        confidence=confidence,
        provenance=provenance,
        report_card=card,
    )


def _provenance(measurements: MeasurementSet, networks: Sequence[Measurement]) -> Provenance:
    identity: DeviceIdentity = measurements.identity
    return Provenance(
        identity=identity,
        plan=dataclasses.asdict(measurements.measurements[0].plan),
        op_count=len(measurements.op_measurements()),
        network_count=len(networks),
        proxyless_version=metadata.version("proxyless"),
        git_commit=git_commit(),
        fitted_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        fusion_rules=observed_with(identity.runtime),
        fusion_doubt=rules_doubt(identity.runtime, version=identity.runtime_version, accelerator=identity.accelerator),
    )


def git_commit(source_file: Path = Path(__file__)) -> str | None:
    """Commit of the checkout that ``source_file`` belongs to; None where there is no git or no checkout.

    A repository around an installed package is somebody's project: its commit says nothing of this code.
    """
    if _git(source_file, "ls-files", "--error-unmatch", source_file.name) is None:
        return None
    return _git(source_file, "rev-parse", "HEAD")


def _git(source_file: Path, *arguments: str) -> str | None:
    """What git says in the folder of a file; None where it fails."""
    command = ["git", "-C", str(source_file.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
