"""What a few samples give without any method: printed beside every few-shot figure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_model.errors import TooFewSamplesError
from latency_model.evaluate import spearman
from latency_model.features import FloatArray


def best_source_rescaled(source_ms: FloatArray, rows: npt.NDArray[np.int64], latency_ms: FloatArray) -> FloatArray:
    """(networks,) the source device whose order of the samples is most alike, scaled to their level.

    Args:
        source_ms: (networks, sources) latency of every network of the pool on each source.
        rows: the measured networks; latency_ms: (rows,) on the new device.
    Raises:
        TooFewSamplesError: no sources.
    """
    if source_ms.shape[1] == 0:
        raise TooFewSamplesError("No source devices; there is nothing to rescale.")
    alike = [spearman(source_ms[rows, source], latency_ms) or -1.0 for source in range(source_ms.shape[1])]
    best = source_ms[:, int(np.argmax(alike))]
    return np.asarray(best * np.median(latency_ms / best[rows]))


def ridge_from_scratch(
    counts: FloatArray, rows: npt.NDArray[np.int64], latency_ms: FloatArray, ridge: float = 1.0
) -> FloatArray:
    """(networks,) an additive table from the new device's own samples alone."""
    measured = counts[rows]
    centre, level = measured.mean(axis=0), latency_ms.mean()
    centred = measured - centre
    dual = np.linalg.solve(centred @ centred.T + ridge * np.eye(len(rows)), latency_ms - level)
    return np.asarray(level + (counts - centre) @ (centred.T @ dual))
