"""The quicker ways through a module give what torch's own ops give: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from latency_model.ops import ConvSpec, MBConvSpec
from search.depthwise import depthwise_conv
from search.expansion import normalised_expansion
from search.modules import ConvUnit, InvertedBlock, batch_statistics_norm, initialise
from search.pointwise import pointwise_conv
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


def channels_last(*shape, seed):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()
    return values.contiguous(memory_format=torch.channels_last)


def gradients(y, inputs):
    return torch.autograd.grad(y, inputs, torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).double())


@pytest.mark.parametrize("pixels", [1, 5])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_pointwise_convolution_has_the_values_and_gradients_of_torch(pixels, has_bias):
    inputs = [channels_last(3, 6, pixels, pixels, seed=0), channels_last(10, 6, 1, 1, seed=1)]
    inputs += [torch.linspace(-1, 1, 10).double()] if has_bias else []
    for tensor in inputs:
        tensor.requires_grad_()
    found, expected = pointwise_conv(*inputs), functional.conv2d(*inputs)
    assert "_Pointwise" in type(found.grad_fn).__name__
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert close(found, expected)
    assert all(close(*pair) for pair in zip(gradients(found, inputs), gradients(expected, inputs), strict=True))


def test_a_pointwise_convolution_of_frozen_weights_does_not_keep_its_input():
    x, weight = channels_last(3, 6, 5, 5, seed=0).requires_grad_(), channels_last(10, 6, 1, 1, seed=1)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        found = pointwise_conv(x, weight)
    assert [tensor.shape for tensor in kept] == [weight.shape]
    assert close(gradients(found, x)[0], gradients(functional.conv2d(x, weight), x)[0])


def test_large_and_planar_maps_are_convolved_by_torch():
    weight = channels_last(3, 2, 1, 1, seed=0).requires_grad_()
    for x in (channels_last(1, 2, 1024, 512, seed=1), torch.zeros(2, 2, 3, 3).double()):
        assert "_Pointwise" not in type(pointwise_conv(x, weight).grad_fn).__name__


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_normalised_expansion_is_convolution_and_batch_norm(momentum):
    weight = channels_last(20, 4, 1, 1, seed=1).requires_grad_()
    norms = [nn.BatchNorm2d(20, momentum=momentum).double() for _ in range(2)]
    for norm in norms:
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(2))
    for step in range(2):  # running statistics of a second batch add to those of the first
        x = (channels_last(3, 4, 5, 5, seed=3 + step) * 2 + 3).requires_grad_()
        found = normalised_expansion(x, weight, norms[0])
        expected = norms[1](functional.conv2d(x, weight))
        assert close(found, expected)
        ours, theirs = (
            gradients(y, (x, weight, norm.weight, norm.bias)) for y, norm in zip((found, expected), norms, strict=True)
        )
        assert all(close(*pair) for pair in zip(ours, theirs, strict=True))
    assert all(close(*pair) for pair in zip(norms[0].buffers(), norms[1].buffers(), strict=True))


def test_frozen_weights_leave_a_normalised_expansion_the_gradient_of_its_input():
    weight, norm = channels_last(20, 4, 1, 1, seed=1), batch_statistics_norm(20).double().requires_grad_(False)
    x = channels_last(3, 4, 5, 5, seed=3).requires_grad_()
    found = normalised_expansion(x, weight, norm)
    assert close(gradients(found, x)[0], gradients(norm(functional.conv2d(x, weight)), x)[0])


def test_a_wide_expansion_keeps_no_output_of_its_convolution():
    op = ConvSpec(batch=8, in_channels=8, in_height=64, in_width=64, out_channels=32, kernel_size=1, activation="relu6")
    unit = ConvUnit(op, batch_statistics_norm)
    x = torch.randn(8, 8, 64, 64).contiguous(memory_format=torch.channels_last).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = unit(x)
    assert {tensor.data_ptr() for tensor in kept if tensor.shape == y.shape} == {y.data_ptr()}
    expected = functional.relu6(unit.bn(unit.conv(x)))
    assert torch.allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_an_exported_network_shows_its_pointwise_convolutions():
    module = block("relu6").float().eval()
    program = torch.export.export(module, (torch.zeros(3, 5, 8, 8).to(memory_format=torch.channels_last),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("conv2d" in name for name in called) == 3


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
