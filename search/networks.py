"""Networks made by hand: uniform ones of a space, and any network made wider or narrower."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
from typing_extensions import assert_never

from latency_model.kernels import macs
from latency_model.network import NetworkSpec
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)
from latency_model.wiring import INPUT
from search.errors import SpaceError
from search.space import Choices, Position, SearchSpace
from search.zoo import build_network

WIDTH_STEP = 4
SMALLEST_MOBILENETV2_PIXELS = 64
SIZE_BIAS = 4.0


def reference_network(space: SearchSpace) -> NetworkSpec:
    """What ``--target 0.6xmobilenetv2`` is a fraction of: MobileNetV2 itself for images of 64 pixels and more, and for
    smaller ones its likeness in the space's outline.

    Raises:
        SpaceError: a space of small images with a position that offers no MBConv.
    """
    _, channels, height, width = space.input_shape
    if min(height, width) >= SMALLEST_MOBILENETV2_PIXELS:
        return build_network("mobilenetv2", (channels, height, width), space.head[-1][1].output_shape[1])
    return mobilenetv2_like(space)


def mobilenetv2_like(space: SearchSpace) -> NetworkSpec:
    """MobileNetV2 in this space's outline: at every position the smallest kernel (3, in most spaces) with the largest
    expansion. Where a position offers separable convolutions instead, the block of MobileNetV2's predecessor: the
    smallest of them, not dilated.

    Raises:
        SpaceError: a position that offers neither.
    """
    return space.network(tuple(_mobilenetv2_choice(position) for position in space.positions), "mobilenetv2")


def _mobilenetv2_choice(position: Position) -> int:
    blocks = {
        index: (candidate.op.kernel_size, -candidate.op.expansion)
        for index, candidate in enumerate(position.candidates)
        if isinstance(candidate.op, MBConvSpec)
    } or {
        index: (candidate.op.kernel_size, candidate.op.dilation)
        for index, candidate in enumerate(position.candidates)
        if isinstance(candidate.op, SeparableConvSpec)
    }
    if not blocks:
        raise SpaceError(
            f"Position {position.name!r} offers no MBConv or separable convolution: this space has no MobileNetV2-like "
            f"network to be compared with; offer one there."
        )
    return min(blocks, key=lambda index: blocks[index])


def scaled_network(network: NetworkSpec, width: float, name: str) -> NetworkSpec:
    """The same network with every width multiplied and rounded to a multiple of 4; images and classes stay."""
    return _scaled_network(network, [width] * len(network.layers), name)


def networks_between(network: NetworkSpec, narrow: float, wide: float, name: str) -> list[NetworkSpec]:
    """The networks between two widths of one: up to some layer as narrow as the one, from there on as wide as the
    other. A residual needs equal widths, so the change comes where none is. Only of networks that are chains."""
    if network.wiring:
        return []
    starts = [
        index
        for index, op in enumerate(network.ops)
        if not (isinstance(op, MBConvSpec | FusedMBConvSpec) and op.has_residual)
    ]
    between = (
        _scaled_network(network, [narrow] * start + [wide] * (len(network.layers) - start), name)
        for start in starts[1:]
    )
    ends = (scaled_network(network, narrow, name), scaled_network(network, wide, name))
    return [one for one in dict.fromkeys(between) if one not in ends]


def _scaled_network(network: NetworkSpec, layer_widths: Sequence[float], name: str) -> NetworkSpec:
    layers: dict[str, OpSpec] = {}
    widths = {INPUT: network.input_shape[1]}
    last_name = network.layers[-1][0]
    for step, op, width in zip(network.steps, network.ops, layer_widths, strict=True):
        wider = _scaled_op(op, widths[step.sources[0]], width)
        if step.name == last_name and isinstance(wider, LinearSpec) and isinstance(op, LinearSpec):
            wider = dataclasses.replace(wider, out_features=op.out_features)
        layers[step.name] = wider
        widths[step.name] = wider.output_shape[1]
    return NetworkSpec(name=name, layers=tuple(layers.items()), wiring=network.wiring)


def _scaled_op(op: OpSpec, in_channels: int, width: float) -> OpSpec:
    match op:
        case ConvSpec() | SeparableConvSpec() | PadChannelsSpec():
            return dataclasses.replace(op, in_channels=in_channels, out_channels=_scaled(op.out_channels, width))
        case MBConvSpec() | FusedMBConvSpec():
            squeeze = op.squeeze_channels
            return dataclasses.replace(
                op,
                in_channels=in_channels,
                out_channels=_scaled(op.out_channels, width),
                expand_channels=round(in_channels * op.expansion),
                squeeze_channels=None if squeeze is None else _scaled(squeeze, width),
            )
        case LinearSpec():
            return dataclasses.replace(op, in_features=in_channels, out_features=_scaled(op.out_features, width))
        case SqueezeExciteSpec():
            return dataclasses.replace(
                op, in_channels=in_channels, squeeze_channels=_scaled(op.squeeze_channels, width)
            )
        case DepthwiseConvSpec() | PoolSpec() | AddSpec() | ActivationSpec() | IdentitySpec() | ZeroSpec():
            return dataclasses.replace(op, in_channels=in_channels)
        case _:
            assert_never(op)


def _scaled(channels: int, width: float) -> int:
    return max(WIDTH_STEP, round(channels * width / WIDTH_STEP) * WIDTH_STEP)


def spread_choices(space: SearchSpace, rng: random.Random) -> Choices:
    """A random network whose size is spread over the space's whole range, where uniform ones crowd the middle.

    One bias towards small or large candidates is drawn for the whole network.
    """
    bias = rng.uniform(-SIZE_BIAS, SIZE_BIAS)
    return tuple(_biased_choice(position, bias, rng) for position in space.positions)


def _biased_choice(position: Position, bias: float, rng: random.Random) -> int:
    sizes = np.array([macs(candidate.op) for candidate in position.candidates], dtype=float)
    weights = np.exp(bias * sizes / max(float(sizes.max()), 1.0))
    return rng.choices(range(len(sizes)), weights=[float(weight) for weight in weights])[0]


def network_label(op: OpSpec) -> str:
    """The short label of one layer: ``k5 e3 w40``, ``conv k3 w16``, ``skip``."""
    match op:
        case MBConvSpec() | FusedMBConvSpec():
            return f"k{op.kernel_size} e{op.expansion:g} w{op.out_channels}"
        case ConvSpec():
            return f"conv k{op.kernel_size} w{op.out_channels}"
        case SeparableConvSpec():
            return f"{'dil' if op.dilation > 1 else 'sep'} k{op.kernel_size} w{op.out_channels}"
        case IdentitySpec():
            return "skip"
        case LinearSpec():
            return f"linear {op.out_features}"
        case _:
            return op.kind


def layer_labels(network: NetworkSpec) -> Sequence[str]:
    return [network_label(op) for op in network.ops]
