"""Ranges of all values of a network, from real inputs, for 8-bit files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latency_model.errors import LoweringError
from latency_model.lowering.quantization import params_of_range
from latency_model.lowering.weights import Weights
from latency_model.network import NetworkSpec, with_batch
from latency_model.ops import Activation

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLES_PER_BATCH = 8192
_SAMPLES_JUDGED = 65536
_SHRINKS = np.linspace(1.0, 0.4, 25)


class _Seen:
    """What calibration keeps of one value: its extremes, and some of its numbers."""

    def __init__(self, next_activation: Activation) -> None:
        self._next_activation = next_activation
        self._low, self._high = np.inf, -np.inf
        self._count = 0
        self._samples = np.empty(0, np.float32)

    def add(self, low: float, high: float, numbers: NDArray[np.float32]) -> None:
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._count += numbers.size
        self._samples = np.concatenate([self._samples, _thinned(numbers.reshape(-1), _SAMPLES_PER_BATCH)])
        if self._samples.size > 2 * _SAMPLES_JUDGED:
            self._samples = _thinned(self._samples, _SAMPLES_JUDGED)

    def best_range(self) -> tuple[float, float]:
        """The part of the full range whose 256 steps leave the least squared error: cutting off rare extremes
        makes the steps finer for all the rest. The error is that of what comes of the value: below zero a swish is
        nearly flat, so steps are better spent above."""
        samples = _Judged(_thinned(self._samples, _SAMPLES_JUDGED), self._next_activation)
        extremes = _Judged(np.array([self._low, self._high], np.float32), self._next_activation)
        weight = self._count / len(samples.numbers)

        def error(low: float, high: float) -> float:
            return weight * samples.squared_error(low, high) + extremes.squared_error(low, high)

        high = min((self._high * shrink for shrink in _SHRINKS), key=lambda high: error(self._low, high))
        low = min((self._low * shrink for shrink in _SHRINKS), key=lambda low: error(low, high))
        return float(low), float(high)


def _thinned(numbers: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    stride = -(-numbers.size // count) | 1  # odd, so that it does not walk along an axis
    thinned: NDArray[np.float32] = numbers[::stride].copy()
    return thinned


class _Judged:
    """Numbers, and what the activation after them makes of them."""

    def __init__(self, numbers: NDArray[np.float32], activation: Activation) -> None:
        self.numbers = numbers
        self._activation = activation
        self._after = self._activated(numbers)

    def squared_error(self, low: float, high: float) -> float:
        params = params_of_range(low, high)
        integers = np.clip(np.rint(self.numbers / params.scale) + params.zero_point, -128, 127).astype(np.int16)
        held = self._activated(((np.arange(-128, 128) - params.zero_point) * params.scale).astype(np.float32))
        return float(np.square(held[integers + 128] - self._after, dtype=np.float64).sum())

    def _activated(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch  # noqa: PLC0415 - slow to import

        from latency_model.lowering.torch_emitter import activated  # noqa: PLC0415

        return activated(torch.from_numpy(numbers), self._activation).numpy()


def calibrate(
    network: NetworkSpec, weights: Weights, batches: Iterable[Tensor | Sequence[Tensor]]
) -> dict[str, tuple[float, float]]:
    """A range for every value of the network, from batches of real inputs (NCHW, any batch size; a sequence of
    tensors for a network of several inputs): that part of what was seen which 8 bits hold with the least error,
    judged after the activation that follows.

    Raises:
        LoweringError: there are no batches, an input does not fit, or a value is not finite.
    """
    import torch  # noqa: PLC0415 - slow to import

    from latency_model.lowering.torch_emitter import run_torch  # noqa: PLC0415

    seen: dict[str, _Seen] = {}

    def look(name: str, value: Tensor, next_activation: Activation) -> None:
        low, high = (float(limit) for limit in value.aminmax())
        if not np.isfinite([low, high]).all():
            raise LoweringError(
                f"Network {network.name!r}: the value {name!r} reaches {low} to {high}; no 8 bits hold that."
            )
        seen.setdefault(name, _Seen(next_activation)).add(low, high, value.numpy())

    for batch in batches:
        inputs = [batch] if isinstance(batch, torch.Tensor) else list(batch)
        run_torch(with_batch(network, len(inputs[0])), weights, inputs, look)
    if not seen:
        raise LoweringError(f"Network {network.name!r}: no calibration inputs; a few hundred real images do.")
    return {name: value.best_range() for name, value in seen.items()}
