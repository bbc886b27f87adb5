"""Weights of a network as plain arrays under stable names: "<layer>.weight", "<layer>.expand.bias", ..."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency_model.errors import LoweringError
from latency_model.kernels import weight_shapes
from latency_model.network import NetworkSpec
from latency_model.ops import Shape

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def network_weight_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """Every weight that the network asks for, by its full name."""
    return {f"{layer}.{weight}": shape for layer, op in network.layers for weight, shape in weight_shapes(op).items()}


def random_weights(network: NetworkSpec, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights to time a network with: normal with variance 2 / fan-in, so that signals neither die nor blow
    up on the way (denormal numbers would be slow); small biases. Equal seeds give equal weights."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in network_weight_shapes(network).items():
        deviation = 0.1 if len(shape) == 1 else math.sqrt(2 / math.prod(shape[1:]))
        weights[name] = generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
    return weights


def check_weights(network: NetworkSpec, weights: Weights) -> None:
    """Refuse weights that do not fit the network.

    Raises:
        LoweringError: a weight is missing, has another shape than the network's or another type than float32, or
            holds numbers that are not finite.
    """
    for name, shape in network_weight_shapes(network).items():
        if name not in weights:
            raise LoweringError(
                f"Network {network.name!r} needs the weight {name!r}, shape {shape}, and was not given it. "
                "Were the weights saved from another network?"
            )
        weight = weights[name]
        if weight.shape != shape:
            raise LoweringError(
                f"Network {network.name!r}: weight {name!r} has shape {weight.shape}; the network needs {shape}."
            )
        if weight.dtype != np.float32:
            raise LoweringError(f"Weight {name!r} is {weight.dtype}; give float32: weight.astype(numpy.float32).")
        if not np.isfinite(weight).all():
            raise LoweringError(f"Weight {name!r} holds NaN or infinity. Did the training diverge?")


def as_half(name: str, values: NDArray[np.float32]) -> NDArray[np.float16]:
    """The weight in half precision.

    Raises:
        LoweringError: it holds numbers that half precision does not reach.
    """
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise LoweringError(
            f"The weight {name!r} reaches {np.abs(values).max():.3g}; half precision ends at 65504. Export this "
            "network as fp32."
        )
    return values.astype(np.float16)
