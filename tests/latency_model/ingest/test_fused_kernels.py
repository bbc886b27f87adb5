"""What a forward function spells out becomes part of a kernel or one of its own, or is named: nothing costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from latency_model.errors import UnsupportedOpsError
from latency_model.ingest import ingest_module
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SqueezeExciteSpec,
)

IMAGE = torch.zeros(1, 3, 32, 32)
WIDE = {"in_channels": 8, "in_height": 32, "in_width": 32}
PLAIN = ConvSpec(in_channels=3, in_height=32, in_width=32, out_channels=8, kernel_size=1)


class Written(nn.Module):
    """A forward function on 8 channels, with a convolution in front."""

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.rest = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.conv(x))


def ops_after_the_convolution(forward: Callable[[torch.Tensor], torch.Tensor]) -> tuple[OpSpec, ...]:
    return ingest_module(Written(forward).eval(), (IMAGE,)).ops


@pytest.mark.parametrize(
    ("forward", "activation"),
    [
        (lambda x: functional.relu6(x + 3) / 6, "hsigmoid"),
        (lambda x: x * (functional.relu6(x + 3) / 6), "hswish"),
        (lambda x: x * functional.relu6(x + 3) / 6, "hswish"),
        (lambda x: x * functional.hardsigmoid(x), "hswish"),
        (lambda x: torch.sigmoid(x) * x, "swish"),
        (lambda x: x.clamp(0, 6), "relu6"),
        (lambda x: x.clamp(min=0), "relu"),
        (lambda x: functional.dropout(x, training=False).relu_(), "relu"),
    ],
)
def test_an_activation_that_is_spelt_out_becomes_part_of_the_layer_before_it(forward, activation):
    (conv,) = ops_after_the_convolution(forward)
    assert (conv.kind, conv.activation) == ("conv", activation)


def test_an_activation_of_a_value_that_others_read_stands_alone():
    assert ops_after_the_convolution(lambda x: x + x.relu()) == (
        PLAIN,
        ActivationSpec(activation="relu", **WIDE),
        AddSpec(**WIDE),
    )


def test_pools_become_pools_and_one_over_the_whole_image_the_global_one():
    assert ops_after_the_convolution(lambda x: functional.max_pool2d(x, 3, 2, 1))[1:] == (
        PoolSpec(pool="max", kernel_size=3, stride=2, **WIDE),
    )
    for forward in (lambda x: functional.avg_pool2d(x, 32), lambda x: x.mean((2, 3)), lambda x: x.mean((-1, -2))):
        assert ops_after_the_convolution(forward)[1:] == (PoolSpec(pool="global_average", **WIDE),)


def test_channels_of_zeros_become_padded_channels_and_padded_pixels_are_refused():
    _, padded = ops_after_the_convolution(lambda x: functional.pad(x, (0, 0, 0, 0, 0, 5)))
    assert padded == PadChannelsSpec(out_channels=13, **WIDE)
    for sides, mode in (((1, 1, 1, 1), "constant"), ((1, 1, 1, 1, 0, 5), "constant"), ((1, 1, 1, 1), "reflect")):
        with pytest.raises(UnsupportedOpsError, match="pad"):
            ops_after_the_convolution(lambda x, sides=sides, mode=mode: functional.pad(x, sides, mode))


def test_squeeze_excite_by_linear_layers_is_recognised():
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 3), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.layers(x.mean((2, 3)))[:, :, None, None]

    (op,) = ingest_module(Linear().eval(), (IMAGE,), unsupported="list").ops
    assert op == SqueezeExciteSpec(
        in_channels=3, in_height=32, in_width=32, squeeze_channels=2, activation="relu", gate="sigmoid"
    )


def test_one_gate_for_all_channels_is_no_squeeze_excite():
    class OneGate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.layers(x.mean((2, 3)))[:, :, None, None]

    with pytest.raises(UnsupportedOpsError, match="Multiply"):
        ingest_module(OneGate().eval(), (IMAGE,))


def test_what_cannot_be_expressed_is_an_error_that_names_each_operator():
    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([functional.max_pool2d(x, 2), functional.interpolate(x, scale_factor=0.5)], 1).softmax(1)

    with pytest.raises(UnsupportedOpsError, match=r"3 operator|4 operator") as caught:
        ops_after_the_convolution(forward)
    text = str(caught.value)
    assert all(name in text for name in ("max_pool2d", "cat", "softmax", "symmetric padding needs an odd one"))


def test_what_cannot_be_expressed_is_listed_when_a_list_is_asked_for():
    found = ingest_module(Written(lambda x: torch.softmax(x, 1)).eval(), (IMAGE,), unsupported="list")
    assert found.ops == (PLAIN,)
    assert [(op.name, op.operator) for op in found.unsupported] == [("softmax", "aten.softmax.int")]


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x * 0.5,
        lambda x: x + 1,
        lambda x: x * x.flip(1),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x + torch.ones(1, 8, 32, 32),  # a positional embedding
        lambda x: torch.ones(1, 1, 32, 32) * x,  # a mask
        lambda x: x - torch.ones(32),
        lambda x: x / torch.ones(2, 8, 1, 1),
        lambda x: x + torch.ones(1, 1, 8, 1, 1),
        lambda x: x.flatten(1) + torch.ones(8 * 32 * 32),
        lambda x: x.view(32, 8, 32, 1) + torch.ones(8, 1, 1),
        lambda x: functional.dropout(x, training=True),
        lambda x: functional.batch_norm(x, None, None, training=True),
    ],
)
def test_nothing_silently_costs_nothing(forward):
    with pytest.raises(UnsupportedOpsError):
        ops_after_the_convolution(forward)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1, 1), (1, 1, 1), (1,)])
def test_a_constant_that_is_one_number_for_each_channel_folds_into_the_layer_before_it(shape):
    assert ops_after_the_convolution(lambda x: (x * torch.ones(shape) + torch.ones(shape)).relu()) == (
        dataclasses.replace(PLAIN, activation="relu"),
    )
