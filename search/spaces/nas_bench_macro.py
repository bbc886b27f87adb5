"""The NAS-Bench-Macro space: 8 positions of identity, MBConv 3/k3, MBConv 6/k5; 6,561 networks for CIFAR-10.

Source: Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021, and its data.
"""

from __future__ import annotations

from latency_model.ops import ConvSpec, MBConvSpec, ZeroSpec
from search.space import Candidate, Choices, Position, SearchSpace
from search.spaces.ends import classifier_head, stem_conv

STEM_WIDTH, HEAD_WIDTH = 32, 1280
STAGES = ((64, 2), (128, 3), (256, 3))
BLOCKS = ((3, 3), (6, 5))
"""(expansion, kernel size) of the digits 1 and 2 in the published keys; digit 0 is the identity."""


def nas_bench_macro_space(
    image_shape: tuple[int, int, int] = (3, 32, 32), class_count: int = 10, stem_stride: int = 1
) -> SearchSpace:
    """The published space.

    Args:
        image_shape: (channels, height, width); the published accuracies are for (3, 32, 32).
        class_count: outputs of the classifier.
        stem_stride: 1 as published; 2 halves every feature map, for a cheaper search on the same choices.
    """
    stem = stem_conv(image_shape, width=STEM_WIDTH, stride=stem_stride, activation="relu")
    positions: list[Position] = []
    in_channels, size = STEM_WIDTH, (stem.out_height, stem.out_width)
    for stage, (stage_width, depth) in enumerate(STAGES, start=1):
        for block in range(1, depth + 1):
            stride = 2 if block == 1 else 1
            name = f"stage{stage}.block{block}"
            positions.append(_position(name, stage, in_channels, size, stage_width, stride))
            in_channels, size = stage_width, (-(-size[0] // stride), -(-size[1] // stride))
    head = classifier_head(in_channels, size, width=HEAD_WIDTH, class_count=class_count, activation="relu")
    return SearchSpace(name="nas-bench-macro", stem=(("stem", stem),), positions=tuple(positions), head=head)


def choices_for_key(key: str) -> Choices:
    """The choices behind a published key such as ``"02112200"``."""
    return tuple(int(digit) for digit in key)


def _position(
    name: str, stage: int, in_channels: int, size: tuple[int, int], out_channels: int, stride: int
) -> Position:
    has_shortcut = stride == 1 and in_channels == out_channels
    if has_shortcut:
        identity = Candidate(
            label="identity", op=ZeroSpec(in_channels=in_channels, in_height=size[0], in_width=size[1])
        )
    else:
        shape_change = ConvSpec(
            in_channels=in_channels,
            in_height=size[0],
            in_width=size[1],
            out_channels=out_channels,
            kernel_size=1,
            stride=stride,
        )
        identity = Candidate(label="identity", op=shape_change)
    blocks = tuple(
        Candidate(
            label=f"k{kernel_size} e{expansion}",
            op=MBConvSpec(
                in_channels=in_channels,
                in_height=size[0],
                in_width=size[1],
                out_channels=out_channels,
                kernel_size=kernel_size,
                stride=stride,
                expand_channels=in_channels * expansion,
                activation="relu",
                has_residual=has_shortcut,
            ),
        )
        for expansion, kernel_size in BLOCKS
    )
    return Position(name=name, stage=stage, candidates=(identity, *blocks), has_shortcut=has_shortcut)
