"""Whole networks against the sum of their ops: a unit that no single op gives away."""

from __future__ import annotations

import numpy as np

from latency_model.calibration import NetworkTimings
from latency_model.errors import MeasurementError
from latency_model.predictors.protocol import LatencyPredictor

# Sums were at most a factor of 2 off; units differ by 1000.
_MOST_OFF = 30.0


def check_level(networks: NetworkTimings, predictor: LatencyPredictor, ops_of: str, mend: str) -> None:
    """Suspect ops and networks in different units: calibration would scale a thousandfold error off without a word.

    Args:
        predictor: of the single ops.
        ops_of: where they stand, for the error: "in table.csv".
    Raises:
        MeasurementError: the median network is 30 times as slow, or as fast, as the sum of its ops.
    """
    sums = [float(predictor.predict_ms(ops).mean_ms.sum()) for ops in networks.networks]
    if not sums:
        return
    ratio = float(np.median(networks.latency_ms / np.array(sums)))
    require_same_unit(ratio, f"the sum of their ops {ops_of}", mend)


def require_same_unit(ratio: float, compared: str, mend: str) -> None:
    """Suspect networks in another unit than what they are compared with.

    Args:
        ratio: of the median network to what was said of it.
    Raises:
        MeasurementError: it is 30 times as much, or as little.
    """
    if not 1 / _MOST_OFF <= ratio <= _MOST_OFF:
        raise MeasurementError(f"The measured networks take {ratio:.2g} times {compared}. {mend}")
