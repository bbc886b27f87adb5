"""The ops that a predictor was fitted on, whatever its kind."""

from __future__ import annotations

from latency_model.ops import OpSpec
from latency_model.predictors.corrected import CorrectedPredictor
from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.protocol import LatencyPredictor
from latency_model.predictors.roofline import RooflinePredictor
from latency_model.predictors.table import TablePredictor


def measured_ops(predictor: LatencyPredictor) -> tuple[OpSpec, ...]:
    """The ops that a predictor was fitted on."""
    match predictor:
        case MeasuredFirstPredictor():
            return predictor.table.timings.ops
        case TablePredictor():
            return predictor.timings.ops
        case CorrectedPredictor() | RooflinePredictor():
            return predictor.fitted_on
        case _:
            return ()
