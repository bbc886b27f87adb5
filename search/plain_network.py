"""PlainNetwork: one derived network as an ordinary trainable module, and its folded weights for export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latency_model.network import NetworkSpec
from latency_model.ops import AddSpec
from latency_model.wiring import Step, walk
from search.errors import SpaceError
from search.modules import ConvUnit, InvertedBlock, LinearUnit, SeparableConv, SqueezeExcite, build_module, initialise

Array = NDArray[np.float32]


class PlainNetwork(nn.Module):
    """The layers of a NetworkSpec as they are wired; a block with a residual adds its input.

    Raises:
        SpaceError: an add with one input.
    """

    def __init__(self, network: NetworkSpec, generator: torch.Generator, dropout: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.steps = check_adds(network)
        self.layers = nn.ModuleDict(
            {module_name(name): build_module(op, nn.BatchNorm2d) for name, op in network.layers}
        )
        self.dropout = nn.Dropout(dropout)
        initialise(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        ops = dict(self.network.layers)

        def run(name: str, values: list[Tensor]) -> Tensor:
            module = self.layers[module_name(name)]
            if isinstance(module, LinearUnit):
                return cast(Tensor, module(self.dropout(values[0])))
            y = cast(Tensor, module(*values))
            return y + values[0] if getattr(ops[name], "has_residual", False) else y

        return walk(self.steps, x, run)


def check_adds(network: NetworkSpec) -> tuple[Step, ...]:
    """The steps of a network in which every add has its two inputs.

    Raises:
        SpaceError: one has not.
    """
    for step, op in zip(network.steps, network.ops, strict=True):
        if isinstance(op, AddSpec) and len(step.sources) == 1:
            raise SpaceError(
                f"The add {step.name!r} takes two inputs: name them in the network's wiring, or in a chain of layers "
                f"write it as has_residual of a block."
            )
    return network.steps


def module_name(layer_name: str) -> str:
    """A layer's name as PyTorch accepts it (no dots)."""
    return layer_name.replace(".", "_")


def folded_weights(model: PlainNetwork) -> dict[str, Array]:
    """Every weight and bias under the names that the lowering reads, with batch norm folded in float64.

    Source of the fold: w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps).
    """
    weights: dict[str, Array] = {}
    for layer_name, _ in model.network.layers:
        for name, weight, bias in _folded_parts(layer_name, model.layers[module_name(layer_name)]):
            weights[f"{name}.weight"] = weight.detach().float().cpu().contiguous().numpy()
            weights[f"{name}.bias"] = bias.detach().float().cpu().contiguous().numpy()
    return weights


def _folded_parts(name: str, module: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    match module:
        case ConvUnit():
            yield (name, *_fold(module))
        case InvertedBlock():
            for stage, part in module.stages.items():
                yield from _folded_parts(f"{name}.{stage}", part)
        case SeparableConv():
            yield (f"{name}.depthwise", *_fold(module.depthwise))
            yield (f"{name}.pointwise", *_fold(module.pointwise))
        case SqueezeExcite():
            for part_name, conv in (("reduce", module.reduce), ("expand", module.expand)):
                assert conv.bias is not None
                yield f"{name}.{part_name}", conv.weight, conv.bias
        case LinearUnit():
            yield name, module.linear.weight, module.linear.bias


def _fold(unit: ConvUnit) -> tuple[Tensor, Tensor]:
    norm = unit.bn
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = unit.conv.weight.double() * scale.reshape(-1, 1, 1, 1)
    return weight, norm.bias.double() - norm.running_mean.double() * scale
