"""Numbers in 8 bits: value = scale * (integer - zero_point), from ranges seen on calibration inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency_model.errors import LoweringError
from latency_model.ops import Activation

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
InputOutput: TypeAlias = Literal["quantized", "float"]  # what an int8 file takes and gives

_WEIGHT_LIMIT = 127  # symmetric: -128 stays unused
_BIAS_LIMIT = 2**30  # leaves a bit of headroom in the 32-bit sum
_DEAD_SPAN = 1e-4  # a value that spans less is taken for zero; kernels refuse to scale so far down
_NOMINAL_RANGE = (-4.0, 4.0)
_CLAMPS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, kw_only=True)
class Int8Params:
    """Parameters of one activation tensor, for signed integers; for unsigned ones the zero point is 128 more."""

    scale: float
    zero_point: int

    @property
    def unsigned_zero_point(self) -> int:
        return self.zero_point + 128


@dataclass(frozen=True, kw_only=True)
class Int8Weights:
    """A layer's weight, one scale for each output channel, and its bias in units of input times weight scale."""

    weight: NDArray[np.int8]
    weight_scales: NDArray[np.float32]
    bias: NDArray[np.int32]
    bias_scales: NDArray[np.float32]


def params_of_range(low: float, high: float) -> Int8Params:
    """Parameters under which the range, widened to hold zero, fills the 256 integers."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _DEAD_SPAN:
        low, high = 0.0, 1.0
    scale = float(np.float32((high - low) / 255))
    return Int8Params(scale=scale, zero_point=min(max(round(-128 - low / scale), -128), 127))


def quantize_weights(weight: NDArray[np.float32], bias: NDArray[np.float32], input_scale: float) -> Int8Weights:
    """Symmetric weights by output channel (the first axis) and the bias that goes with them."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64)
    # A bias that dwarfs its weights would overflow; a coarser weight scale then costs nothing.
    scales = np.maximum(largest / _WEIGHT_LIMIT, np.abs(bias) / (input_scale * _BIAS_LIMIT))
    scales = np.where(scales == 0, 1.0, scales).astype(np.float32)
    steps = weight / scales.reshape(-1, *[1] * (weight.ndim - 1))
    bias_scales = (scales.astype(np.float64) * input_scale).astype(np.float32)
    return Int8Weights(
        weight=np.clip(np.rint(steps), -_WEIGHT_LIMIT, _WEIGHT_LIMIT).astype(np.int8),
        weight_scales=scales,
        bias=np.rint(bias / bias_scales.astype(np.float64)).astype(np.int32),
        bias_scales=bias_scales,
    )


def params_of_value(ranges: Ranges, name: str, clamp: Activation = "none") -> Int8Params:
    """Parameters of a named value that has passed through ``clamp``.

    Raises:
        LoweringError: the calibration did not see this value.
    """
    try:
        low, high = ranges[name]
    except KeyError:
        raise LoweringError(
            f"No calibrated range for the value {name!r}. Calibrate this very network: "
            "ranges=calibrate(network, weights, batches)."
        ) from None
    least, most = _CLAMPS.get(clamp, (-np.inf, np.inf))
    return params_of_range(max(low, least), min(high, most))


def nominal_ranges() -> Ranges:
    """The same plausible range for whatever is asked: enough to time a file with, not to use its numbers."""
    return defaultdict(lambda: _NOMINAL_RANGE)
