"""The latency of a searched network as a loss: expected milliseconds under the path probabilities.

A predictor is frozen into one constant vector per position (``path_latency_ms``), so any regressor, trees
included, gives exact gradients: the expected latency is a dot product with the probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_model.features import FloatArray


def expected_latency_ms(path_probability: Tensor, path_latency_ms: Tensor) -> Tensor:
    """Mean latency of one mixed op under its path distribution.

    Args:
        path_probability: (paths,), sums to 1; the gradient flows through it.
        path_latency_ms: (paths,), milliseconds; a constant from the predictor.
    Returns:
        Scalar, milliseconds.
    Raises:
        ValueError: the two shapes differ.
    Source: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, section 3.3.
    """
    if path_probability.shape != path_latency_ms.shape:
        raise ValueError(f"{path_probability.shape=} but {path_latency_ms.shape=}; one latency per path.")
    return (path_probability * path_latency_ms).sum()


@dataclass(frozen=True)
class LatencyLossParts:
    """What one evaluation of a latency loss gives; all scalars that carry the gradient."""

    loss: Tensor
    expected_ms: Tensor
    ratio: Tensor


class _ExpectedLatency(nn.Module):
    """Constants of one device and one target: a latency per path and position, and what is always paid."""

    fixed_ms: Tensor
    target_ms: Tensor
    multiplier: Tensor

    def __init__(
        self,
        path_latency_ms: Sequence[Tensor | FloatArray],
        fixed_ms: float,
        target_ms: float,
        multiplier: float = 0.0,
    ) -> None:
        super().__init__()
        vectors = [one if isinstance(one, Tensor) else torch.tensor(one) for one in path_latency_ms]
        _check_constants(vectors, fixed_ms, target_ms)
        _check_multiplier(multiplier)
        self.position_count = len(vectors)
        for position, latency_ms in enumerate(vectors):
            self.register_buffer(_buffer_name(position), latency_ms.detach().clone().float())
        self.register_buffer("fixed_ms", torch.tensor(float(fixed_ms)))
        self.register_buffer("target_ms", torch.tensor(float(target_ms)))
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))

    @property
    def path_latency_ms(self) -> tuple[Tensor, ...]:
        """One (paths,) constant per position, milliseconds."""
        return tuple(self.get_buffer(_buffer_name(position)) for position in range(self.position_count))

    def expected_ms(self, path_probabilities: Sequence[Tensor]) -> Tensor:
        """Expected latency of the whole network: the fixed part + the mean of each position. Scalar, ms."""
        if len(path_probabilities) != self.position_count:
            raise ValueError(
                f"{len(path_probabilities)} probability vectors for {self.position_count} positions; "
                "give one per mixed op, in order."
            )
        total = self.fixed_ms
        for probability, latency_ms in zip(path_probabilities, self.path_latency_ms, strict=True):
            total = total + expected_latency_ms(probability, latency_ms)
        return total


class LatencyLoss(_ExpectedLatency):
    """``multiplier * expected / target``: linear in the latency, the multiplier found by dual ascent.

    The multiplier belongs to the state that is saved and restored. Dividing by the target
    frees it of units, so one learning rate serves a phone at 80 ms and a server at 80 us.

    Args:
        path_latency_ms: per position (paths,), milliseconds, from a predictor (``path_latencies``): tensors or arrays.
        fixed_ms: what every network of the space pays (stem, head, constant), milliseconds.
        target_ms: the latency to reach.
        multiplier: strength at the start; ``ascend`` changes it. Left alone it is a fixed trade-off.
    Raises:
        ValueError: no positions, a latency that is negative or not finite, or a target that is not above 0.
    Source of the ascent: Luo et al., LightNAS, 2022: lambda += rate * (latency(argmax) / target - 1).
    """

    def forward(self, path_probabilities: Sequence[Tensor]) -> LatencyLossParts:
        """Loss, expected milliseconds and expected / target for the given probabilities."""
        expected_ms = self.expected_ms(path_probabilities)
        ratio = expected_ms / self.target_ms
        return LatencyLossParts(loss=self.multiplier * ratio, expected_ms=expected_ms, ratio=ratio)

    def ascend(self, derived_ms: float, rate: float) -> None:
        """One step of dual ascent on the latency of the network that would be derived now; never below 0."""
        if not math.isfinite(derived_ms) or derived_ms < 0:
            raise ValueError(f"{derived_ms=}; dual ascent needs a latency in milliseconds, 0 or more.")
        with torch.no_grad():
            self.multiplier.add_(rate * (derived_ms / self.target_ms - 1.0)).clamp_(min=0.0)


class HingeLatencyLoss(_ExpectedLatency):
    """``multiplier * max(0, expected / target - 1)``: nothing to pay below the target, linear above. The multiplier is
    the user's: nothing ascends."""

    def __init__(
        self, path_latency_ms: Sequence[Tensor | FloatArray], fixed_ms: float, target_ms: float, multiplier: float = 1.0
    ) -> None:
        super().__init__(path_latency_ms, fixed_ms, target_ms, multiplier)

    def forward(self, path_probabilities: Sequence[Tensor]) -> LatencyLossParts:
        """Loss, expected milliseconds and expected / target for the given probabilities."""
        expected_ms = self.expected_ms(path_probabilities)
        ratio = expected_ms / self.target_ms
        excess = torch.clamp(ratio - 1.0, min=0.0)
        return LatencyLossParts(loss=self.multiplier * excess, expected_ms=expected_ms, ratio=ratio)


class SeveralDevicesLatencyLoss(nn.Module):
    """One network for several devices: the sum of a latency loss per device, each with its own target."""

    def __init__(self, losses: Sequence[LatencyLoss | HingeLatencyLoss]) -> None:
        super().__init__()
        if not losses:
            raise ValueError("No latency losses; give one per device.")
        self.losses = nn.ModuleList(losses)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.losses)

    def forward(self, path_probabilities: Sequence[Tensor]) -> tuple[Tensor, tuple[LatencyLossParts, ...]]:
        """The summed loss, and the parts of each device in the order in which they were given."""
        parts = tuple(loss(path_probabilities) for loss in self.losses)
        return torch.stack([part.loss for part in parts]).sum(), parts


def _buffer_name(position: int) -> str:
    return f"path_latency_ms_{position}"


def _check_constants(path_latency_ms: Sequence[Tensor], fixed_ms: float, target_ms: float) -> None:
    if not path_latency_ms:
        raise ValueError("No positions: path_latency_ms is empty; give one vector per mixed op.")
    for position, latency_ms in enumerate(path_latency_ms):
        if latency_ms.ndim != 1 or latency_ms.numel() == 0:
            raise ValueError(f"Position {position}: path_latency_ms has shape {tuple(latency_ms.shape)}, not (paths,).")
        if not bool(torch.isfinite(latency_ms).all()) or bool((latency_ms < 0).any()):
            raise ValueError(
                f"Position {position}: path_latency_ms={latency_ms.tolist()}; "
                "latencies are finite milliseconds, 0 or more."
            )
    fastest_ms = fixed_ms + sum(float(latency_ms.min()) for latency_ms in path_latency_ms)
    if not math.isfinite(fixed_ms) or (fixed_ms < 0 and fastest_ms <= 0):
        raise ValueError(
            f"{fixed_ms=} makes the fastest network {fastest_ms:g} ms; fixed_ms is finite milliseconds, and below 0 "
            "only as far as every network still takes longer than nothing."
        )
    if not math.isfinite(target_ms) or target_ms <= 0:
        raise ValueError(f"{target_ms=}; a latency target is milliseconds above 0.")


def _check_multiplier(multiplier: float) -> None:
    if not math.isfinite(multiplier) or multiplier < 0:
        raise ValueError(f"{multiplier=}; it must be finite, 0 or more (a negative one would reward slowness).")
