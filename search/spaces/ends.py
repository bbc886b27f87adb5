"""What the spaces share at both ends: the stem convolution and the classifier head."""

from __future__ import annotations

from latency_model.ops import Activation, ConvSpec, LinearSpec, OpSpec, PoolSpec


def stem_conv(
    image_shape: tuple[int, int, int],
    *,
    width: int,
    stride: int,
    kernel_size: int = 3,
    activation: Activation,
) -> ConvSpec:
    """The first convolution, on (channels, height, width) images."""
    channels, height, width_px = image_shape
    return ConvSpec(
        in_channels=channels,
        in_height=height,
        in_width=width_px,
        out_channels=width,
        kernel_size=kernel_size,
        stride=stride,
        activation=activation,
    )


def classifier_head(
    in_channels: int, size: tuple[int, int], *, width: int, class_count: int, activation: Activation
) -> tuple[tuple[str, OpSpec], ...]:
    """1x1 convolution to ``width``, mean over the pixels, linear classifier."""
    height, width_px = size
    last = ConvSpec(
        in_channels=in_channels,
        in_height=height,
        in_width=width_px,
        out_channels=width,
        kernel_size=1,
        activation=activation,
    )
    pool = PoolSpec(pool="global_average", in_channels=width, in_height=height, in_width=width_px)
    classifier = LinearSpec(in_features=width, out_features=class_count)
    return (("head.conv", last), ("head.pool", pool), ("head.linear", classifier))
