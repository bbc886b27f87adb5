"""A derived network's first weights, taken from the paths of the supernet that it was derived from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search.modules import batch_statistics_norm, build_module
from search.plain_network import module_name
from search.space import Choices, SearchSpace


def supernet_weights(space: SearchSpace, choices: Choices, supernet: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the chosen paths learned, under the names of the plain network. A narrower space gets the first channels.

    The supernet keeps no running statistics of batch norm; the network gathers its own while it trains.

    Args:
        supernet: the supernet's state dict.
    """
    sources = {name: f"stem.{index}" for index, (name, _) in enumerate(space.stem)}
    sources |= {
        position.name: f"mixed_ops.{index}.candidates.{choice}"
        for index, (position, choice) in enumerate(zip(space.positions, choices, strict=True))
    }
    sources |= {name: f"joints.{module_name(name)}" for name, _ in space.joints}
    sources |= {name: f"head.{index}" for index, (name, _) in enumerate(space.head)}
    weights = {}
    for layer_name, op in space.network(choices).layers:
        for name, own in build_module(op, batch_statistics_norm).state_dict().items():
            first_channels = tuple(slice(0, size) for size in own.shape)
            value = supernet[f"{sources[layer_name]}.{name}"][first_channels]
            weights[f"layers.{module_name(layer_name)}.{name}"] = value
    return weights


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Short text that tells these weights from others: what a checkpoint remembers of its start."""
    total = torch.zeros((), dtype=torch.float64)
    for value in weights.values():
        total += value.double().abs().sum()
    return f"{len(weights)} tensors, sum of magnitudes {float(total):.9g}"
