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
_LEAST_TO_TELL_OUTLIERS = 6  # samples
_FAR, _USUAL_SPREAD = 10.0, 0.03


def source_weights(source_shares: FloatArray, latency_ms: FloatArray) -> FloatArray:
    """(sources,) how much each source counts, by its error once it is rescaled to the samples; of norm 1.

    The weight is exp(-2 (e / min e - 1)) for e the mean absolute log ratio to the samples: errors count against
    the nearest source's, so that on a device that is like none of them all count alike.

    Args:
        source_shares: (samples, sources) each source's latency of the samples, in any unit of its own.
        latency_ms: (samples,) on the new device.
    """
    error = np.abs(_log_ratios(source_shares, latency_ms)).mean(axis=0).clip(min=_LEAST_ERROR)
    weights = np.exp(-_SHARPNESS * (error / error.min() - 1.0))
    return np.asarray(weights / np.linalg.norm(weights))


def _log_ratios(source_shares: FloatArray, latency_ms: FloatArray) -> FloatArray:
    """(samples, sources) log of the latency over each source's, rescaled so that half of the samples lie below."""
    shares = np.maximum(source_shares / np.abs(source_shares).mean(axis=0), _LEAST_SHARE)
    ratio = np.log(latency_ms[:, None] / shares)
    return np.asarray(ratio - np.median(ratio, axis=0))


def is_far_off(
    groups: Sequence[FeatureGroup], rows: npt.NDArray[np.int64], latency_ms: FloatArray
) -> npt.NDArray[np.bool_]:
    """(samples,) those that lie ten robust deviations (of 3 % of the median latency at least) from what the nearest
    source says, rescaled.

    A sample of a few that was disturbed would otherwise be explained by the features, and never be found out. Without
    sources, or with fewer than six samples, nobody can tell. Distances are shares of the median latency, as the fit's
    noise is: networks of next to nothing, of which no straight line is a good share, are near all the same.

    Args: as of ``with_near_sources``.
    """
    differences = _source_differences(groups)
    if differences is None or len(rows) < _LEAST_TO_TELL_OUTLIERS:
        return np.zeros(len(rows), np.bool_)
    shares = 1.0 + differences[rows]
    scale = np.median(latency_ms[:, None] / np.maximum(shares, _LEAST_SHARE), axis=0)
    distance = np.abs(latency_ms[:, None] - scale * shares) / np.median(latency_ms)
    usual = np.median(distance, axis=0)
    nearest = int(usual.argmin())
    robust_deviation = max(1.4826 * float(usual[nearest]), _USUAL_SPREAD)
    return np.asarray(distance[:, nearest] > _FAR * robust_deviation)


def _source_differences(groups: Sequence[FeatureGroup]) -> FloatArray | None:
    """(networks, sources) shares of each source's mean, less 1; the group holds them over the root of the number of
    sources."""
    sources = next((group for group in groups if group.name == "sources"), None)
    return None if sources is None else sources.columns * np.sqrt(sources.columns.shape[1])


def with_near_sources(
    groups: Sequence[FeatureGroup], rows: npt.NDArray[np.int64], latency_ms: FloatArray
) -> tuple[FeatureGroup, ...]:
    """The groups, and the sources once more, each as far as it is like the device of these samples.

    The new columns are (networks, sources), linear in the counts as the sources' own. Without sources, as it was.

    Args:
        groups: of all networks of the pool, as ``feature_groups`` makes them, without any label of the device.
        rows: the measured networks; latency_ms: (rows,) on the new device.
    """
    differences = _source_differences(groups)
    if differences is None:
        return tuple(groups)
    weights = source_weights(1.0 + differences[rows], latency_ms)
    return (*groups, FeatureGroup("near_sources", differences * weights))
