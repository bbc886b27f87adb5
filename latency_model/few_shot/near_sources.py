"""Which sources a new device is like: what its samples say, so that a near twin among many is heard.

The prior of the structured Gaussian process gives every source the same scale. With dozens of them, of which one is
all but the new device itself, twenty samples are too few to single that one out by evidence alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray
from latency_model.few_shot.items import FeatureGroup

_SHARPNESS = 2.0  # a source that errs by half as much again as the nearest counts 1 / e of it
_LEAST_ERROR = 1e-3  # medians of one network's runs differ by more: nobody can tell sources apart below
_LEAST_SHARE = 1e-6  # of a source's mean: its table, a straight line, may fall to zero and below


def source_weights(source_shares: FloatArray, latency_ms: FloatArray) -> FloatArray:
    """(sources,) how much each source counts, by its error once it is rescaled to the samples; of norm 1.

    The weight is exp(-2 (e / min e - 1)) for e the mean absolute log ratio to the samples: errors count against
    the nearest source's, so that on a device that is like none of them all count alike.

    Args:
        source_shares: (samples, sources) each source's latency of the samples, in any unit of its own.
        latency_ms: (samples,) on the new device.
    """
    shares = np.maximum(source_shares / np.abs(source_shares).mean(axis=0), _LEAST_SHARE)
    ratio = latency_ms[:, None] / shares
    error = np.abs(np.log(ratio / np.median(ratio, axis=0))).mean(axis=0).clip(min=_LEAST_ERROR)
    weights = np.exp(-_SHARPNESS * (error / error.min() - 1.0))
    return np.asarray(weights / np.linalg.norm(weights))


def with_near_sources(
    groups: Sequence[FeatureGroup], rows: npt.NDArray[np.int64], latency_ms: FloatArray
) -> tuple[FeatureGroup, ...]:
    """The groups, and the sources once more, each as far as it is like the device of these samples.

    The new columns are (networks, sources), linear in the counts as the sources' own. Without sources, as it was.

    Args:
        groups: of all networks of the pool, as ``feature_groups`` makes them, without any label of the device.
        rows: the measured networks; latency_ms: (rows,) on the new device.
    """
    sources = next((group for group in groups if group.name == "sources"), None)
    if sources is None:
        return tuple(groups)
    # The group holds shares of each source's mean, less 1, over the root of the number of sources.
    differences = sources.columns * np.sqrt(sources.columns.shape[1])
    weights = source_weights(1.0 + differences[rows], latency_ms)
    return (*groups, FeatureGroup("near_sources", differences * weights))
