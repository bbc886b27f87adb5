"""Predictors of op latencies behind one protocol."""

from latency_model.predictors.measured_first import MeasuredFirstPredictor
from latency_model.predictors.mlp import MlpPredictor
from latency_model.predictors.protocol import LatencyPredictor, PredictedLatency
from latency_model.predictors.random_forest import RandomForestPredictor
from latency_model.predictors.roofline import RooflinePredictor
from latency_model.predictors.store import load_predictor, save_predictor
from latency_model.predictors.table import TablePredictor
from latency_model.predictors.xgboost_trees import XGBoostPredictor

__all__ = [
    "LatencyPredictor",
    "MeasuredFirstPredictor",
    "MlpPredictor",
    "PredictedLatency",
    "RandomForestPredictor",
    "RooflinePredictor",
    "TablePredictor",
    "XGBoostPredictor",
    "load_predictor",
    "save_predictor",
]
