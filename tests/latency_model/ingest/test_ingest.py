"""Any network in: ONNX files and torch modules become the kernels that our own specs break into."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional

from latency_model.errors import LatencyModelError, UnsupportedOpsError
from latency_model.ingest import ingest_module, ingest_network, ingest_onnx
from latency_model.lowering import Int8Options, nominal_ranges, onnx_bytes, random_weights
from latency_model.network import NetworkSpec, with_dtype
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SqueezeExciteSpec,
)

IMAGE = torch.zeros(1, 3, 32, 32)


class ConvNorm(nn.Sequential):
    """As in MobileNetV2: convolution without bias, batch norm, activation."""

    def __init__(
        self,
        width: int,
        out_width: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: type | None = None,
    ) -> None:
        padding = (kernel_size - 1) // 2
        layers: list[nn.Module] = [
            nn.Conv2d(width, out_width, kernel_size, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out_width),
        ]
        super().__init__(*layers, *([act(inplace=True)] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = functional.adaptive_avg_pool2d(x, 1)
        return x * functional.hardsigmoid(self.expand(functional.relu(self.reduce(scale))))


class InvertedResidual(nn.Module):
    def __init__(
        self, width: int, out_width: int, stride: int, expansion: int, act: type, squeezed: int | None
    ) -> None:
        super().__init__()
        wide = width * expansion
        parts: list[nn.Module] = [ConvNorm(width, wide, act=act)] if expansion != 1 else []
        parts.append(ConvNorm(wide, wide, 3, stride, groups=wide, act=act))
        if squeezed is not None:
            parts.append(SqueezeExcite(wide, squeezed))
        parts.append(ConvNorm(wide, out_width))
        self.conv = nn.Sequential(*parts)
        self.has_residual = stride == 1 and width == out_width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.has_residual else self.conv(x)


class SmallMobileNet(nn.Module):
    def __init__(self, act: type = nn.ReLU6, squeezed: int | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNorm(3, 8, 3, 2, act=act),
            InvertedResidual(8, 8, 1, 1, act, squeezed),
            InvertedResidual(8, 16, 2, 6, act, squeezed),
            InvertedResidual(16, 16, 1, 6, act, squeezed),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def small_mobile_network(activation: str = "relu6", squeezed: int | None = None) -> NetworkSpec:
    side, half = {"in_height": 16, "in_width": 16}, {"in_height": 8, "in_width": 8}
    block = {"kernel_size": 3, "activation": activation, "squeeze_channels": squeezed}
    stem = ConvSpec(
        in_channels=3, in_height=32, in_width=32, out_channels=8, kernel_size=3, stride=2, activation=activation
    )
    deepest = MBConvSpec(in_channels=16, out_channels=16, expand_channels=96, has_residual=True, **half, **block)
    return NetworkSpec(
        name="small",
        layers=(
            ("stem", stem),
            ("b0", MBConvSpec(in_channels=8, out_channels=8, expand_channels=8, has_residual=True, **side, **block)),
            ("b1", MBConvSpec(in_channels=8, out_channels=16, expand_channels=48, stride=2, **side, **block)),
            ("b2", deepest),
            ("pool", PoolSpec(in_channels=16, pool="global_average", **half)),
            ("classifier", LinearSpec(in_features=16, out_features=10)),
        ),
    )


@pytest.mark.parametrize(
    ("act", "activation", "squeezed"),
    [(nn.ReLU6, "relu6", None), (nn.Hardswish, "hswish", 4), (nn.SiLU, "swish", None), (nn.ReLU, "relu", 8)],
)
def test_a_torch_mobile_net_becomes_the_kernels_of_the_same_network_in_our_specs(act, activation, squeezed):
    module = SmallMobileNet(act, squeezed).eval()
    assert ingest_module(module, (IMAGE,)).ops == ingest_network(small_mobile_network(activation, squeezed)).ops


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_an_onnx_file_of_ours_comes_back_as_the_kernels_that_it_was_made_of(dtype):
    network = with_dtype(small_mobile_network("hswish", 4), dtype)
    model = onnx_bytes(network, random_weights(network), int8=Int8Options(ranges=nominal_ranges()))
    assert ingest_onnx(model).ops == ingest_network(network).ops


def test_kernels_are_named_by_layer_or_by_module_path():
    names = [kernel.name for kernel in ingest_network(small_mobile_network()).kernels]
    assert names[:4] == ["stem", "b0.depthwise", "b0.project", "b0.add"]
    module_names = [kernel.name for kernel in ingest_module(SmallMobileNet().eval(), (IMAGE,)).kernels]
    assert module_names[0].startswith("features.0.0:")


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


WIDE = {"in_channels": 8, "in_height": 32, "in_width": 32}
PLAIN = ConvSpec(in_channels=3, in_height=32, in_width=32, out_channels=8, kernel_size=1)


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


@pytest.mark.parametrize(
    ("conv", "why"),
    [
        (nn.Conv2d(3, 8, (1, 3), padding=(0, 1)), "differ between the axes"),
        (nn.Conv2d(3, 8, 3), "symmetric padding would give"),
        (nn.Conv2d(3, 8, 4, padding=1), "odd one"),
        (nn.ConvTranspose2d(3, 8, 2, 2), "no op spec"),
    ],
)
def test_a_convolution_outside_our_specs_says_what_is_different(conv, why):
    with pytest.raises(UnsupportedOpsError, match=why):
        ingest_module(conv.eval(), (IMAGE,))


def test_a_module_in_training_mode_or_of_other_shapes_is_refused_with_the_mend():
    with pytest.raises(LatencyModelError, match=r"eval\(\)"):
        ingest_module(SmallMobileNet(), (IMAGE,))
    with pytest.raises(LatencyModelError, match="shapes of the example inputs"):
        ingest_module(SmallMobileNet().eval(), (torch.zeros(1, 5, 32, 32),))


def onnx_model(nodes: list[onnx.NodeProto], shape: list[int | str], *weights: onnx.TensorProto) -> bytes:
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, bytes(4 * torch.Size(shape).numel()), raw=True)


CONV = helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], auto_pad="SAME_UPPER", group=8)


def test_an_onnx_file_with_an_open_batch_takes_the_one_that_is_asked_for():
    model = onnx_model([CONV, helper.make_node("Relu", ["c"], ["y"])], ["N", 8, 14, 14], weight("w", 8, 1, 5, 5))
    expected = DepthwiseConvSpec(
        batch=4, in_channels=8, in_height=14, in_width=14, kernel_size=5, stride=2, activation="relu"
    )
    assert ingest_onnx(model, batch=4).ops == (expected,)


def test_batch_norm_and_biases_in_an_onnx_file_fold_into_the_layer_before_them():
    constants = [weight(name, 8) for name in ("scale", "shift", "mean", "variance")]
    nodes = [
        CONV,
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
        helper.make_node("GlobalAveragePool", ["n"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["m"]),
        helper.make_node("Add", ["m", "bias"], ["y"]),
    ]
    model = onnx_model(
        nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), *constants, weight("fc", 8, 5), weight("bias", 5)
    )
    assert [op.kind for op in ingest_onnx(model).ops] == ["depthwise", "pool", "linear"]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(1, 8, 7, 7), (1, 1, 7, 7), (7,), (2, 8, 1, 1)])
def test_a_constant_of_an_onnx_file_that_differs_between_pixels_is_refused(operator, shape):
    nodes = [CONV, helper.make_node(operator, ["c", "p"], ["y"])]
    with pytest.raises(UnsupportedOpsError, match="not one number for each channel"):
        ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), weight("p", *shape)))


def test_a_constant_of_an_onnx_file_with_one_number_for_each_channel_folds_into_the_layer_before_it():
    nodes = [CONV, helper.make_node("Add", ["p", "c"], ["s"]), helper.make_node("Mul", ["s", "p"], ["y"])]
    model = onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), weight("p", 8, 1, 1))
    assert [op.kind for op in ingest_onnx(model).ops] == ["depthwise"]


@pytest.mark.parametrize(("is_training", "kinds"), [(False, ["depthwise"]), (True, None)])
def test_dropout_in_an_onnx_file_costs_nothing_in_inference_and_is_refused_in_training(is_training, kinds):
    ratio = helper.make_tensor("ratio", TensorProto.FLOAT, (), [0.5])
    mode = helper.make_tensor("mode", TensorProto.BOOL, (), [is_training])
    nodes = [CONV, helper.make_node("Dropout", ["c", "ratio", "mode"], ["y"])]
    model = onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), ratio, mode)
    if kinds is None:
        with pytest.raises(UnsupportedOpsError, match="training mode"):
            ingest_onnx(model)
    else:
        assert [op.kind for op in ingest_onnx(model).ops] == kinds


def test_an_onnx_file_of_open_image_size_is_refused():
    with pytest.raises(LatencyModelError, match="fixed image size"):
        ingest_onnx(onnx_model([CONV], [1, 8, "H", 14], weight("w", 8, 1, 3, 3)))


def test_onnx_operators_that_cannot_be_expressed_are_named():
    nodes = [helper.make_node("Softmax", ["x"], ["s"], name="head"), helper.make_node("Exp", ["s"], ["y"])]
    with pytest.raises(UnsupportedOpsError, match=r"head \(Softmax\)") as caught:
        ingest_onnx(onnx_model(nodes, [1, 8]))
    assert "Exp:y (Exp)" in str(caught.value)


def test_a_file_that_is_no_onnx_model_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(LatencyModelError, match="no ONNX model"):
        ingest_onnx(b"\xff\xfe not a model")
    with pytest.raises(LatencyModelError, match="Cannot read"):
        ingest_onnx(tmp_path / "absent.onnx")
