"""From a table of others, YAML or CSV, to a predictor: a sum of its ops, with an interval that says that it is one."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np

from latency_model.correction import SHARED_TERMS, Correction
from latency_model.drift import correct_drift, describe_drift
from latency_model.errors import LatencyModelError, MeasurementError
from latency_model.fit import CONFIDENCE, SEED, fit_network_latency, fit_ops, git_commit, network_timings
from latency_model.level_check import check_level
from latency_model.measurement import DeviceIdentity, MeasurementSet
from latency_model.network_latency import NetworkLatency, Provenance, TableSource
from latency_model.op_timings import OpTimings, check_units
from latency_model.posterior import LinearPosterior
from latency_model.predictors import LatencyPredictor
from latency_model.readers import csv_unit, read_csv_table, read_yaml_table
from latency_model.readers.units import MS_PER_UNIT, Unit
from latency_model.report_card import op_card

# The plain sum of measured kernels was 14 to 48 % off on the phone GPUs whose whole networks are published: without a
# whole network of this device, nothing less can be stated.
UNCALIBRATED_SHARE = 0.5
_YAML, _CSV = (".yaml", ".yml"), (".csv", ".tsv")
_NOT_KNOWN = "not known"


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, and no file of measurements."""
    return path.suffix.lower() in (*_YAML, *_CSV)


def parse_unit(text: str | None) -> Unit | None:
    """The unit as asked for on a command line.

    Raises:
        LatencyModelError: no unit that we know.
    """
    for unit in get_args(Unit):
        if text == unit:
            known: Unit = unit
            return known
    if text is None:
        return None
    raise LatencyModelError(f"Unknown unit {text!r}; use one of {', '.join(MS_PER_UNIT)}.")


def read_table(path: Path, unit: Unit | None) -> tuple[OpTimings, TableSource]:
    """A table and where it comes from.

    Args:
        unit: of its latencies; a CSV may state it in the name of its column.
    Raises:
        MeasurementError: no such table, no unit, or latencies that no device could have.
    """
    is_yaml = path.suffix.lower() in _YAML
    timings = read_yaml_table(path, unit) if is_yaml else read_csv_table(path, unit)
    stated = unit or (None if is_yaml else csv_unit(path))
    if stated is None:
        raise MeasurementError(
            f"{path} does not say the unit of its latencies; give it with --unit. The published ProxylessNAS and "
            "Once-for-All tables hold milliseconds: --unit ms."
        )
    check_units(timings.ops, timings.latency_ms)
    return timings, TableSource(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), unit=stated)


def fit_table(
    path: Path,
    unit: Unit | None = None,
    model: str = "auto",
    *,
    networks: MeasurementSet | None = None,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> NetworkLatency:
    """A predictor of what a table holds: the plain sum of its ops, or calibrated on whole ``networks`` of its device.

    Raises:
        LatencyModelError: an unknown model.
        MeasurementError: no such table, no unit, latencies that no device could have, or networks that are far from
            the sum of their ops.
        UnknownOpError: a network holds an op that neither the table nor a regressor on it speaks of.
        TooFewSamplesError: fewer than 4 networks.
    """
    timings, source = read_table(path, unit)
    predictor, reason = fit_ops(timings, model, confidence, seed)
    said_of_drift = "drift: not known, as a table holds no canary"
    if networks is None:
        fitted = _sum_of(predictor, timings, source, confidence)
    else:
        at_one_pace, drift = correct_drift(networks)
        measured = at_one_pace.network_measurements()
        check_level(
            network_timings(measured, predictor),
            predictor,
            f"in {source.file}, read as {source.unit}",
            "Is the table in another unit (--unit s, ms, us or ns), or of another device?",
        )
        fitted = fit_network_latency(predictor, measured, confidence=confidence, seed=seed)
        provenance = dataclasses.replace(fitted.provenance, op_count=len(timings), source=source)
        fitted = dataclasses.replace(fitted, provenance=provenance)
        said_of_drift = f"{describe_drift(drift)} (of the networks; of the ops not known, as a table holds no canary)"
    card: dict[str, Any] = fitted.report_card | op_card(predictor, timings)
    card |= {"model": predictor.kind, "model_reason": reason, "drift": said_of_drift}
    return dataclasses.replace(fitted, report_card=card)


def _sum_of(predictor: LatencyPredictor, timings: OpTimings, source: TableSource, confidence: float) -> NetworkLatency:
    size = len(SHARED_TERMS)
    nothing_learned = Correction(
        ops=(),
        posterior=LinearPosterior(np.zeros(size), np.zeros((size, size)), 0.0),
        op_spread=0.0,
        shared_scale=np.zeros(size),
    )
    return NetworkLatency(
        op_predictor=predictor,
        sum_factor=1.0,
        kernel_ms=0.0,
        affine_constant_ms=0.0,
        correction=nothing_learned,
        noise_share=UNCALIBRATED_SHARE,
        interval_factor=1.0,
        confidence=confidence,
        provenance=Provenance(
            identity=DeviceIdentity(
                device_name=source.file,
                fingerprint=f"sha256:{source.sha256[:16]}",
                runtime=_NOT_KNOWN,
                runtime_version=_NOT_KNOWN,
                thread_count=None,
                accelerator=_NOT_KNOWN,
            ),
            plan={},
            op_count=len(timings),
            network_count=0,
            proxyless_version=metadata.version("proxyless"),
            git_commit=git_commit(),
            fitted_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            source=source,
        ),
        report_card={
            "method": "no whole network of this device was measured: how wrong the sum of its ops is, is not known. "
            f"The interval of +-{UNCALIBRATED_SHARE:.0%} is an assumption (sums were 14-48 % off on other devices), "
            "not a measurement"
        },
    )
