"""Predictors of op latencies behind one protocol."""

from latency_model.predictors.protocol import LatencyPredictor, PredictedLatency
from latency_model.predictors.store import load_predictor, save_predictor
from latency_model.predictors.table import TablePredictor
from latency_model.predictors.xgboost_trees import XGBoostPredictor

__all__ = [
    "LatencyPredictor",
    "PredictedLatency",
    "TablePredictor",
    "XGBoostPredictor",
    "load_predictor",
    "save_predictor",
]
