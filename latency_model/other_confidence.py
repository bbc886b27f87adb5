"""Intervals at another level than the predictor was fitted with, from the errors that it kept."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from latency_model.errors import LatencyModelError
from latency_model.features import FloatArray
from latency_model.predictors.conformal import conformal_quantile

if TYPE_CHECKING:
    from latency_model.network_latency import NetworkLatency


@dataclasses.dataclass(frozen=True)
class KeptScores:
    """Errors on what the fit did not see: what an interval of any level is made of.

    Attributes:
        networks: (n,) errors of whole networks, in standard deviations.
        hidden: (m, 3) of networks whose measured ops were kept from the regressor: squared error, the variance of all
            else, and that of the hidden ops, as the regressor states it; ms^2.
    """

    networks: FloatArray
    hidden: FloatArray


def hidden_factor(hidden: FloatArray, interval_factor: float, confidence: float) -> float | None:
    """What to multiply the regressor's standard deviations by, so that ``confidence`` of networks stay inside.

    Args:
        hidden: as ``KeptScores`` has them.
        interval_factor: of networks of measured ops; the factor comes on top of it.
    Returns:
        The factor, 1 at least: what the hidden ops need says little of networks less like the measured ones. None where
        nothing was hidden.
    """
    if not len(hidden):
        return None
    squared, rest, unit = hidden.T
    missing = np.maximum(squared / interval_factor**2 - rest, 0.0)
    return max(1.0, conformal_quantile(np.sqrt(missing / np.where(unit > 0, unit, np.inf)), confidence))


def with_confidence(predictor: NetworkLatency, confidence: float) -> NetworkLatency:
    """The predictor with intervals that hold another share of networks.

    Raises:
        LatencyModelError: it kept too little to promise that much; why, and how to get it.
    """
    if math.isclose(confidence, predictor.confidence):
        return predictor
    asked = f"--confidence {confidence:g}: this predictor has intervals of {predictor.confidence:.0%} only. "
    again = f"`proxyless fit FILE.jsonl --confidence {confidence:g}`"
    if not predictor.is_calibrated:
        raise LatencyModelError(
            f"{asked}No whole network calibrated it: its interval is an assumption, and there is none for another "
            "level. Calibrate it with `proxyless fit TABLE --networks FILE.jsonl`."
        )
    kept = predictor.kept
    if kept is None and "source" in predictor.report_card:
        raise LatencyModelError(
            f"{asked}It was carried over to another unit, whose few networks tell no other. Fit that of the first unit "
            f"again, {again}, and carry that over with `proxyless recalibrate`."
        )
    if kept is None and "sources" in predictor.report_card:
        raise LatencyModelError(
            f"{asked}It was transferred from other devices, by intervals of that level alone. With ops and networks of "
            f"this device {again} makes a predictor with others."
        )
    if kept is None:
        raise LatencyModelError(
            f"{asked}It was saved by an earlier version and kept no errors to make others of. Fit it again on its "
            f"measurements: {again}."
        )
    least = math.ceil(round(confidence / (1 - confidence), 6))
    if len(kept.networks) < least:
        raise LatencyModelError(
            f"{asked}It kept the errors of {len(kept.networks)} networks; {confidence:.1%} needs {least} or more. "
            "Measure more whole networks and fit again, or ask for less."
        )
    factor = conformal_quantile(kept.networks, confidence)
    unmeasured = predictor.unmeasured_factor
    if unmeasured is not None:
        unmeasured = hidden_factor(kept.hidden, factor, confidence)
    return dataclasses.replace(predictor, confidence=confidence, interval_factor=factor, unmeasured_factor=unmeasured)
