"""A network as a torch function: the reference that the files are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from latency_model.errors import LoweringError
from latency_model.lowering.emit import emit_network
from latency_model.lowering.weights import Weights, as_half, check_weights
from latency_model.network import NetworkSpec
from latency_model.ops import (
    Activation,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    LinearSpec,
    PadChannelsSpec,
    PoolSpec,
    Shape,
)

Observe = Callable[[str, Tensor, Activation], None]  # the value's name, the value, what is applied to it next


class TorchEmitter:
    """Runs each op as it is emitted and shows every value, under its name, to ``observe``. Values are NCHW
    tensors. What comes before an activation is called "<name>.linear", as in the files, and is shown only as far as
    the activation tells numbers apart."""

    def __init__(self, weights: Weights, inputs: Sequence[Tensor], observe: Observe | None) -> None:
        self._weights = weights
        self._inputs = list(inputs)
        self._observe = observe

    def input(self, name: str, shape: Shape) -> Tensor:
        if not self._inputs:
            raise LoweringError(f"The network has one more input, {name!r}, of shape {shape}: pass it as well.")
        value = self._inputs.pop(0)
        if tuple(value.shape) != shape:
            raise LoweringError(f"Input {name!r} has shape {tuple(value.shape)}; the network takes {shape}.")
        return self._seen(value, name)

    def conv(self, x: Tensor, op: ConvSpec | DepthwiseConvSpec, name: str) -> Tensor:
        weight, bias = self._parameters(name, op.dtype)
        padding = op.dilation * (op.kernel_size - 1) // 2
        groups = op.in_channels if isinstance(op, DepthwiseConvSpec) else op.groups
        y = functional.conv2d(x, weight, bias, op.stride, padding, op.dilation, groups)
        return self._activated(y, op.activation, name)

    def linear(self, x: Tensor, op: LinearSpec, name: str) -> Tensor:
        return self._activated(functional.linear(x, *self._parameters(name, op.dtype)), op.activation, name)

    def pool(self, x: Tensor, op: PoolSpec, name: str) -> Tensor:
        padding = (op.kernel_size - 1) // 2
        match op.pool:
            case "average":
                return self._seen(functional.avg_pool2d(x, op.kernel_size, op.stride, padding), name)
            case "max":
                return self._seen(functional.max_pool2d(x, op.kernel_size, op.stride, padding), name)
            case "global_average":
                return self._seen(x.mean(dim=(2, 3)), name)

    def mean(self, x: Tensor, name: str) -> Tensor:
        return self._seen(x.mean(dim=(2, 3), keepdim=True), name)

    def scale(self, x: Tensor, gate: Tensor, name: str) -> Tensor:
        return self._seen(x * gate, name)

    def add(self, x: Tensor, y: Tensor, activation: Activation, name: str) -> Tensor:
        return self._activated(x + y, activation, name)

    def activate(self, x: Tensor, activation: Activation, name: str) -> Tensor:
        if activation == "swish":  # in two steps, as in the files
            return self._seen(x * self._seen(torch.sigmoid(x), f"{name}.sigmoid"), name)
        return self._seen(activated(x, activation), name)

    def pad_channels(self, x: Tensor, op: PadChannelsSpec, name: str) -> Tensor:
        return self._seen(functional.pad(x, (0, 0, 0, 0, 0, op.out_channels - op.in_channels)), name)

    def _activated(self, x: Tensor, activation: Activation, name: str) -> Tensor:
        if activation == "none":
            return self._seen(x, name)
        if self._observe is not None:
            self._observe(f"{name}.linear", x.clamp(*_TOLD_APART.get(activation, _ALL)), activation)
        return self.activate(x, activation, name)

    def _seen(self, value: Tensor, name: str) -> Tensor:
        if self._observe is not None:
            self._observe(name, value, "none")
        return value

    def _parameters(self, name: str, dtype: Dtype) -> tuple[Tensor, Tensor]:
        return self._parameter(f"{name}.weight", dtype), self._parameter(f"{name}.bias", dtype)

    def _parameter(self, key: str, dtype: Dtype) -> Tensor:
        if dtype == "fp16":
            return torch.from_numpy(as_half(key, self._weights[key])).float()
        return torch.from_numpy(self._weights[key])


def activated(x: Tensor, activation: Activation) -> Tensor:
    """The activation as torch computes it."""
    return _ACTIVATIONS[activation](x)


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "relu6": functional.relu6,
    "hswish": functional.hardswish,
    "hsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "swish": functional.silu,
}


# Below -3 a hard swish is zero, and so on; beyond 6 the soft ones are within about half an 8-bit step of their limit.
_ALL = (-math.inf, math.inf)
_TOLD_APART = {
    "hswish": (-3.0, math.inf),
    "hsigmoid": (-3.0, 3.0),
    "sigmoid": (-6.0, 6.0),
    "swish": (-6.0, math.inf),
}


def run_torch(
    network: NetworkSpec, weights: Weights, inputs: Sequence[Tensor], observe: Observe | None = None
) -> Tensor:
    """The network's output for its NCHW ``inputs``; ``observe`` is shown every value on the way.

    Half-precision weights are rounded as in the files; 8-bit networks run in single precision.

    Raises:
        LoweringError: weights or inputs do not fit the network.
    """
    check_weights(network, weights)
    with torch.inference_mode():
        return emit_network(TorchEmitter(weights, inputs, observe), network)
