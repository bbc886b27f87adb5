"""The ImageNet space of ProxylessNAS: 21 positions, kernels 3, 5, 7 with expansions 3 and 6, Zero where legal.

Source: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, section 4.2 and the released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from latency_model.ops import MBConvSpec
from search.errors import SpaceError
from search.space import SearchSpace
from search.spaces.ends import classifier_head, stem_conv
from search.spaces.mbconv_positions import MBConvMenu, Stage, mbconv_positions

STEM_WIDTH, FIRST_WIDTH, HEAD_WIDTH = 32, 16, 1280
SMALLEST_PIXELS = 64
STAGES = (
    Stage(width=24, depth=4, stride=2),
    Stage(width=40, depth=4, stride=2),
    Stage(width=80, depth=4, stride=2),
    Stage(width=96, depth=4, stride=1),
    Stage(width=192, depth=4, stride=2),
    Stage(width=320, depth=1, stride=1),
)
WIDTH_STEP = 8
PAPER_WIDTHS = (1.0, 1.12, 1.35)
"""Those of the paper's mobile, CPU and GPU networks."""


def scaled_width(width: int, multiplier: float) -> int:
    """``width * multiplier`` rounded to a multiple of 8, never more than 10 % below it. Source: MobileNetV2's code."""
    scaled = width * multiplier
    rounded = max(WIDTH_STEP, int(scaled + WIDTH_STEP / 2) // WIDTH_STEP * WIDTH_STEP)
    return rounded + WIDTH_STEP if rounded < 0.9 * scaled else rounded


def imagenet_space(
    image_shape: tuple[int, int, int] = (3, 224, 224), class_count: int = 1000, width: float = 1.0
) -> SearchSpace:
    """The paper's mobile space at a width multiplier (the published GPU net is about 1.35 wide, the CPU net 1.12).

    Raises:
        SpaceError: images too small for five halvings, or no width.
    """
    if width <= 0:
        raise SpaceError(f"width is {width:g}; it must be more than 0.")
    _, height, width_px = image_shape
    if min(height, width_px) < SMALLEST_PIXELS:
        raise SpaceError(f"The imagenet space halves the image five times; {height}x{width_px} pixels are too few.")
    stem_width, first_width = scaled_width(STEM_WIDTH, width), scaled_width(FIRST_WIDTH, width)
    stem = stem_conv(image_shape, width=stem_width, stride=2, activation="relu6")
    first = MBConvSpec(
        in_channels=stem_width,
        in_height=stem.out_height,
        in_width=stem.out_width,
        out_channels=first_width,
        kernel_size=3,
        expand_channels=stem_width,
    )
    stages = [Stage(width=scaled_width(stage.width, width), depth=stage.depth, stride=stage.stride) for stage in STAGES]
    positions, last_width, size = mbconv_positions(
        stages, in_channels=first_width, size=(stem.out_height, stem.out_width), menu=MBConvMenu()
    )
    head_width = max(HEAD_WIDTH, scaled_width(HEAD_WIDTH, width))
    head = classifier_head(last_width, size, width=head_width, class_count=class_count, activation="relu6")
    name = "imagenet" if width == 1.0 else f"imagenet-w{width:g}"
    return SearchSpace(name=name, stem=(("stem", stem), ("first", first)), positions=positions, head=head)


def imagenet_widths_space(
    image_shape: tuple[int, int, int] = (3, 224, 224),
    class_count: int = 1000,
    widths: Sequence[float] = PAPER_WIDTHS,
) -> SearchSpace:
    """The paper's space with its width as one more thing to search.

    Raises:
        SpaceError: as ``imagenet_space``, or a width that is given twice.
    """
    if len(set(widths)) != len(widths):
        raise SpaceError(f"Widths {', '.join(f'{width:g}' for width in widths)}: each may be given once.")
    *narrower, widest = (imagenet_space(image_shape, class_count, width) for width in sorted(widths))
    return replace(widest, narrower=tuple(narrower))
