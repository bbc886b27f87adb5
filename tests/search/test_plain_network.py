"""A plain network runs its layers as they are wired, and no layer changes what another one takes."""

from __future__ import annotations

import pytest
import torch

from latency_model.network import NetworkSpec
from latency_model.ops import ActivationSpec, AddSpec, ConvSpec
from search.plain_network import PlainNetwork


@pytest.mark.parametrize("activation", ["relu", "relu6", "hswish"])
def test_an_activation_leaves_its_input_to_the_shortcut_around_it(activation):
    shape = {"in_channels": 4, "in_height": 6, "in_width": 6}
    network = NetworkSpec(
        name="before activation",
        layers=(
            ("first", ConvSpec(out_channels=4, kernel_size=1, **shape)),
            ("active", ActivationSpec(activation=activation, **shape)),
            ("second", ConvSpec(out_channels=4, kernel_size=3, **shape)),
            ("sum", AddSpec(**shape)),
        ),
        wiring=(("active", ("first",)), ("second", ("active",)), ("sum", ("second", "first"))),
    )
    model = PlainNetwork(network, torch.Generator().manual_seed(0))
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    first = model.layers["first"](images)
    active = {"relu": torch.nn.ReLU(), "relu6": torch.nn.ReLU6(), "hswish": torch.nn.Hardswish()}[activation](first)
    torch.testing.assert_close(model(images), model.layers["second"](active) + first)
