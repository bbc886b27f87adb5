"""The quicker ways through a module give what torch's own ops give: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from latency_model.ops import MBConvSpec
from search.depthwise import depthwise_conv
from search.modules import ConvUnit, InvertedBlock, batch_statistics_norm, initialise
from search.relu6 import ReLU6


def close(found, expected):
    return torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "pixels"), [(5, 1, 4), (7, 1, 8), (7, 2, 9), (5, 2, 16), (3, 1, 8), (7, 1, 15)]
)
def test_a_depthwise_convolution_has_the_gradients_of_torch(kernel_size, stride, pixels):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(70, 6, pixels, pixels, generator=generator).double().to(memory_format=torch.channels_last)
    weight = torch.randn(6, 1, kernel_size, kernel_size, generator=generator).double().requires_grad_()
    x.requires_grad_()
    expected = functional.conv2d(x, weight, None, stride, kernel_size // 2, 1, 6)
    found = depthwise_conv(x, weight, stride, kernel_size // 2, 1)
    grad = torch.randn(expected.shape, generator=generator).double()
    assert torch.equal(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), grad), torch.autograd.grad(expected, (x, weight), grad)
    ):
        assert close(ours, theirs)


def test_relu6_has_the_values_and_gradients_of_torch_at_its_corners_too():
    x = torch.tensor([-1.0, 0.0, 1e-3, 3.0, 6.0, 6.1]).requires_grad_()
    found, expected = ReLU6()(x * 1), nn.ReLU6()(x)
    assert torch.equal(found, expected)
    ours, theirs = (torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected))
    assert torch.equal(ours, theirs)


def block(activation="relu6", expand_channels=15, stride=1):
    op = MBConvSpec(
        batch=3,
        in_channels=5,
        in_height=8,
        in_width=8,
        kernel_size=5,
        stride=stride,
        out_channels=7,
        expand_channels=expand_channels,
        activation=activation,
    )
    module = InvertedBlock(op, batch_statistics_norm)
    generator = torch.Generator().manual_seed(0)
    initialise(module, generator)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 0.0, 1.0, generator=generator)
            nn.init.normal_(part.bias, 0.0, 1.0, generator=generator)
    return module.double()


@pytest.mark.parametrize("activation", ["relu6", "relu", "hswish"])
@pytest.mark.parametrize(("expand_channels", "stride"), [(15, 1), (5, 1), (30, 2)])
def test_a_block_without_gradient_gives_the_block_with_it(activation, expand_channels, stride):
    module = block(activation, expand_channels, stride)
    x = torch.randn(3, 5, 8, 8, generator=torch.Generator().manual_seed(1)).double() + 3
    kept = x.clone()
    with_gradient = module(x)
    with torch.no_grad():
        without = module(x)
    assert close(without, with_gradient)
    assert torch.equal(x, kept)


def test_a_channel_that_its_batch_norm_multiplies_by_zero_is_a_constant_without_gradient_too():
    module = block()
    unit = module.stages["depthwise"]
    assert isinstance(unit, ConvUnit)
    with torch.no_grad():
        unit.bn.weight[:4] = 0.0
        unit.bn.bias[0] = 0.0
    x = torch.randn(3, 5, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    with_gradient = module(x)
    with torch.no_grad():
        assert close(module(x), with_gradient)
