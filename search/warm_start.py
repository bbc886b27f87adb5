"""A derived network's first weights, taken from the paths of the supernet that it was derived from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search.plain_network import module_name
from search.space import Choices, SearchSpace


def supernet_weights(space: SearchSpace, choices: Choices, supernet: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the chosen paths learned, under the names of the plain network.

    The supernet keeps no running statistics of batch norm; the network gathers its own while it trains.

    Args:
        supernet: the supernet's state dict.
    """
    sources = [(f"stem.{index}", name) for index, (name, _) in enumerate(space.stem)]
    sources += [
        (f"mixed_ops.{index}.candidates.{choice}", position.name)
        for index, (position, choice) in enumerate(zip(space.positions, choices, strict=True))
    ]
    sources += [(f"joints.{module_name(name)}", name) for name, _ in space.joints]
    sources += [(f"head.{index}", name) for index, (name, _) in enumerate(space.head)]
    weights = {}
    for source, layer_name in sources:
        for name, value in supernet.items():
            if name.startswith(f"{source}."):
                weights[f"layers.{module_name(layer_name)}.{name.removeprefix(source + '.')}"] = value
    return weights


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Short text that tells these weights from others: what a checkpoint remembers of its start."""
    total = torch.zeros((), dtype=torch.float64)
    for value in weights.values():
        total += value.double().abs().sum()
    return f"{len(weights)} tensors, sum of magnitudes {float(total):.9g}"
