"""One small network of inverted blocks, in our specs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from latency_model.network import NetworkSpec
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, PoolSpec


@pytest.fixture(scope="session")
def small_mobile_network() -> Callable[..., NetworkSpec]:
    """``small_mobile_network(activation, squeezed)``: three inverted blocks on 32 pixels."""
    return _small_mobile_network


def _small_mobile_network(activation: str = "relu6", squeezed: int | None = None) -> NetworkSpec:
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
