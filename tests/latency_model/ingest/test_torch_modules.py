"""A torch module becomes the kernels that the same network has in our specs, or is refused with the mend."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from latency_model.errors import LatencyModelError, UnsupportedOpsError
from latency_model.ingest import ingest_exported_program, ingest_module, ingest_network
from latency_model.network_files import read_network
from latency_model.ops import ConvSpec, DepthwiseConvSpec

IMAGE = torch.zeros(1, 3, 32, 32)
PADDED_APART = {"in_channels": 8, "in_height": 16, "in_width": 16}


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


@pytest.mark.parametrize(
    ("act", "activation", "squeezed"),
    [(nn.ReLU6, "relu6", None), (nn.Hardswish, "hswish", 4), (nn.SiLU, "swish", None), (nn.ReLU, "relu", 8)],
)
def test_a_torch_mobile_net_becomes_the_kernels_of_the_same_network_in_our_specs(
    act, activation, squeezed, small_mobile_network
):
    module = SmallMobileNet(act, squeezed).eval()
    assert ingest_module(module, (IMAGE,)).ops == ingest_network(small_mobile_network(activation, squeezed)).ops


def test_kernels_are_named_by_layer_or_by_module_path(small_mobile_network):
    names = [kernel.name for kernel in ingest_network(small_mobile_network()).kernels]
    assert names[:4] == ["stem", "b0.depthwise", "b0.project", "b0.add"]
    module_names = [kernel.name for kernel in ingest_module(SmallMobileNet().eval(), (IMAGE,)).kernels]
    assert module_names[0].startswith("features.0.0:")


def test_squeeze_and_excitation_of_a_map_of_one_pixel_is_one_as_of_any_other():
    module = nn.Sequential(nn.Conv2d(3, 16, 1), SqueezeExcite(16, 4), nn.Conv2d(16, 8, 1)).eval()
    kinds = [[op.kind for op in ingest_module(module, (torch.zeros(1, 3, side, side),)).ops] for side in (1, 8)]
    assert kinds[0] == kinds[1] and "squeeze_excite" in kinds[0]


def test_an_exported_program_is_read_from_its_file_as_the_module_is(tmp_path):
    module = SmallMobileNet().eval()
    torch.export.save(torch.export.export(module, (IMAGE,)), tmp_path / "net.pt2")
    assert ingest_exported_program(tmp_path / "net.pt2").ops == ingest_module(module, (IMAGE,)).ops


def test_a_file_that_is_no_exported_program_or_is_not_there_is_refused_with_the_mend(tmp_path):
    (tmp_path / "weights.pt2").write_bytes(b"no program")
    with pytest.raises(LatencyModelError, match=r"no exported program .*torch\.export\.save"):
        ingest_exported_program(tmp_path / "weights.pt2")
    with pytest.raises(LatencyModelError, match=r"Cannot read .*absent\.pt2"):
        ingest_exported_program(tmp_path / "absent.pt2")


def test_an_exported_program_of_open_batch_is_read_at_the_batch_that_is_asked_for_and_not_at_its_examples(tmp_path):
    class ByItsSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)
            self.classifier = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pooled = functional.adaptive_avg_pool2d(self.conv(x), 1)
            return self.classifier(pooled.view(pooled.size(0), -1))

    images = torch.zeros(2, 3, 32, 32)
    program = torch.export.export(ByItsSize().eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "net.pt2")
    for batch in (1, 3):
        found = ingest_exported_program(tmp_path / "net.pt2", batch=batch)
        assert found.ops == ingest_module(ByItsSize().eval(), (torch.zeros(batch, 3, 32, 32),)).ops
        assert [(op.kind, op.batch) for op in found.ops] == [("conv", batch), ("pool", batch), ("linear", batch)]
    shape = (3, 3, 32, 32)
    assert {op.batch for op in read_network(tmp_path / "net.pt2", shape).ops} == {3}


def test_an_exported_program_of_open_image_size_is_refused_with_the_input_that_is_open(tmp_path):
    side = torch.export.Dim("side", min=8, max=64)
    module, shapes = nn.Conv2d(3, 8, 3, 1, 1), ({2: side, 3: side},)
    program = torch.export.export(module.eval(), (torch.zeros(1, 3, 32, 32),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(LatencyModelError, match=r"Input 'input' has the shape .*only the first dimension may be open"):
        ingest_exported_program(tmp_path / "net.pt2")


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


class Around(nn.Module):
    """A convolution, and what a function makes of its output."""

    def __init__(self, after) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.matrix = nn.Parameter(torch.zeros(8, 5))
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self, self.conv(x))


def test_a_value_that_is_multiplied_by_itself_is_refused_by_name():
    with pytest.raises(UnsupportedOpsError, match="Multiply"):
        ingest_module(Around(lambda _, y: y * y).eval(), (IMAGE,))


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (lambda _, y: functional.conv2d(y, y.mean((2, 3)).view(1, 8, 1, 1)), "its weight is computed from the input"),
        (lambda _, y: functional.linear(y.mean((2, 3)), y.mean((2, 3))), "a product of two activations"),
        (lambda own, y: torch.addmm(y.mean((2, 3))[:, :5], y.mean((2, 3)), own.matrix), "it adds an activation"),
    ],
    ids=["convolution", "product", "sum"],
)
def test_weights_that_are_computed_from_the_input_are_no_layer_of_ours(after, why):
    with pytest.raises(UnsupportedOpsError, match=why):
        ingest_module(Around(after).eval(), (IMAGE,))


@pytest.mark.parametrize(
    ("after", "kinds"),
    [
        (lambda _, y: sum([y, y]), ["conv", "add"]),
        (lambda _, y: functional.adaptive_avg_pool2d(y * 1, 32), ["conv"]),
        (lambda own, y: y.mean((2, 3)) @ own.matrix, ["conv", "pool", "linear"]),
        (lambda _, y: y.clamp_min(0), ["conv"]),
    ],
    ids=["sum", "as large as before", "matrix", "clamp"],
)
def test_other_spellings_of_what_our_specs_have_are_read(after, kinds):
    assert [op.kind for op in ingest_module(Around(after).eval(), (IMAGE,)).ops] == kinds


def test_a_module_in_half_precision_has_kernels_of_that_dtype_and_other_formats_are_refused():
    module = Around(lambda _, y: y.relu()).eval()
    (kernel,) = ingest_module(module.half(), (IMAGE.half(),)).ops
    assert kernel.dtype == "fp16"
    for dtype in (torch.bfloat16, torch.float64):
        with pytest.raises(LatencyModelError, match=rf"computes in {dtype}.*Call float"):
            ingest_module(module.to(dtype), (IMAGE.to(dtype),))


def test_what_stands_under_no_grad_is_read_like_the_rest():
    def frozen_part(own, y):
        with torch.no_grad():
            features = functional.hardswish(y)
        return features.mean((2, 3)) @ own.matrix

    kernels = ingest_module(Around(frozen_part).eval(), (IMAGE,)).ops
    assert [op.kind for op in kernels] == ["conv", "pool", "linear"]
    assert kernels[0].activation == "hswish"


class PaddedApart(nn.Module):
    """As networks ported from TensorFlow: uneven padding on its own, then a convolution or a pool without any."""

    def __init__(self, layer: nn.Module, padding: tuple[int, ...], is_read_twice: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.norm = nn.BatchNorm2d(8)
        self.padding = padding
        self.is_read_twice = is_read_twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(x, self.padding)
        y = functional.relu(self.norm(self.layer(padded)))
        return (y, padded) if self.is_read_twice else y


@pytest.mark.parametrize(
    ("layer", "padding", "expected"),
    [
        (
            nn.Conv2d(8, 8, 3, 2),
            (0, 1, 0, 1),
            ConvSpec(out_channels=8, stride=2, activation="relu", kernel_size=3, **PADDED_APART),
        ),
        (
            nn.Conv2d(8, 8, 5, groups=8),
            (2, 2, 2, 2),
            DepthwiseConvSpec(activation="relu", kernel_size=5, **PADDED_APART),
        ),
    ],
)
def test_padding_that_stands_before_a_layer_is_part_of_its_kernel(layer, padding, expected):
    assert ingest_module(PaddedApart(layer, padding).eval(), (torch.zeros(1, 8, 16, 16),)).ops == (expected,)


@pytest.mark.parametrize(("padding", "is_read_twice"), [((0, 1, 0, 1), True), ((0, 3, 0, 3), False)])
def test_padding_that_others_read_or_that_changes_the_size_is_refused_by_name(padding, is_read_twice):
    module = PaddedApart(nn.Conv2d(8, 8, 3, 2), padding, is_read_twice)
    with pytest.raises(UnsupportedOpsError, match=r"aten\.pad.*it pads"):
        ingest_module(module.eval(), (torch.zeros(1, 8, 16, 16),))
