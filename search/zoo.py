"""Networks by name: the three that ProxylessNAS published, and MobileNetV2.

Source: the released ProxylessNAS configurations (mobile, CPU, GPU); Sandler et al., MobileNetV2, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from latency_model.network import NetworkSpec
from latency_model.ops import MBConvSpec, OpSpec
from search.errors import SpaceError
from search.spaces.ends import classifier_head, stem_conv

SMALLEST_PIXELS = 32
Block = tuple[int, int]
"""(kernel size, expansion)"""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A mobile network: widths at both ends, and per stage its width, stride and blocks."""

    stem: int
    first: int
    last: int
    stages: tuple[tuple[int, int, tuple[Block, ...]], ...]


def _stages(widths: Sequence[int], blocks: Sequence[str]) -> tuple[tuple[int, int, tuple[Block, ...]], ...]:
    strides = (2, 2, 2, 1, 2, 1)
    parsed = (tuple((int(part[0]), int(part[2])) for part in stage.split()) for stage in blocks)
    return tuple(zip(widths, strides, parsed, strict=True))


OUTLINES = {
    "proxyless-mobile": Outline(
        stem=32,
        first=16,
        last=1280,
        stages=_stages(
            (32, 40, 80, 96, 192, 320),
            (
                "5.3 3.3",
                "7.3 3.3 5.3 5.3",
                "7.6 5.3 5.3 5.3",
                "5.6 5.3 5.3 5.3",
                "7.6 7.6 7.3 7.3",
                "7.6",
            ),
        ),
    ),
    "proxyless-gpu": Outline(
        stem=40,
        first=24,
        last=1728,
        stages=_stages(
            (32, 56, 112, 128, 256, 432),
            ("5.3", "7.3 3.3", "7.6 5.3", "5.6 3.3 5.3", "7.6 7.6 7.6 5.6", "7.6"),
        ),
    ),
    "proxyless-cpu": Outline(
        stem=40,
        first=24,
        last=1432,
        stages=_stages(
            (32, 48, 88, 104, 216, 360),
            ("3.6 3.3 3.3 3.3", "3.6 3.3 3.3 5.3", "3.6 3.3", "5.6 3.3 3.3 3.3", "5.6 5.3 5.3 3.3", "5.6"),
        ),
    ),
    "mobilenetv2": Outline(
        stem=32,
        first=16,
        last=1280,
        stages=_stages(
            (24, 32, 64, 96, 160, 320),
            ("3.6 3.6", "3.6 3.6 3.6", "3.6 3.6 3.6 3.6", "3.6 3.6 3.6", "3.6 3.6 3.6", "3.6"),
        ),
    ),
}


def build_network(name: str, image_shape: tuple[int, int, int] = (3, 224, 224), class_count: int = 1000) -> NetworkSpec:
    """A network of the zoo for such images and classes.

    Raises:
        SpaceError: no such name (the nearest is offered), or images too small for five halvings.
    """
    if name not in OUTLINES:
        nearest = get_close_matches(name, OUTLINES, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise SpaceError(f"The zoo has no {name!r}; it has {', '.join(OUTLINES)}.{hint}")
    if min(image_shape[1:]) < SMALLEST_PIXELS:
        raise SpaceError(f"{name} halves the image five times; {image_shape[1]}x{image_shape[2]} pixels are too few.")
    outline = OUTLINES[name]
    stem = stem_conv(image_shape, width=outline.stem, stride=2, activation="relu6")
    layers: list[tuple[str, OpSpec]] = [("stem", stem)]
    size = (stem.out_height, stem.out_width)
    first = _block(outline.stem, outline.first, size, (3, 1), 1)
    layers.append(("first", first))
    in_channels = outline.first
    for index, (width, stage_stride, blocks) in enumerate(outline.stages, start=1):
        for number, block in enumerate(blocks, start=1):
            op = _block(in_channels, width, size, block, stage_stride if number == 1 else 1)
            layers.append((f"stage{index}.block{number}", op))
            in_channels, size = width, (op.out_height, op.out_width)
    head = classifier_head(in_channels, size, width=outline.last, class_count=class_count, activation="relu6")
    return NetworkSpec(name=name, layers=(*layers, *head))


def _block(in_channels: int, out_channels: int, size: tuple[int, int], block: Block, stride: int) -> MBConvSpec:
    kernel_size, expansion = block
    return MBConvSpec(
        in_channels=in_channels,
        in_height=size[0],
        in_width=size[1],
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=stride,
        expand_channels=in_channels * expansion,
        has_residual=stride == 1 and in_channels == out_channels,
    )
