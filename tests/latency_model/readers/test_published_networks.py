"""Networks as the ProxylessNAS and Once-for-All authors published them, and what of them has no op spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latency_model.errors import LatencyModelError
from latency_model.network import NetworkSpec
from latency_model.network_files import read_network
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, PoolSpec
from latency_model.readers import read_proxyless_config

Layer = dict[str, Any]
_IDENTITY = {"name": "IdentityLayer"}


def _conv(width: int, out: int, kernel_size: int = 1, stride: int = 1, act: str | None = "h_swish") -> Layer:
    geometry = {"in_channels": width, "out_channels": out, "kernel_size": kernel_size, "stride": stride}
    return {"name": "ConvLayer", "act_func": act, **geometry}


def _block(width: int, out: int, *, shortcut: Layer | None = None, **fields: Any) -> Layer:
    own = {"in_channels": width, "out_channels": out, "kernel_size": 5, "stride": 1, "expand_ratio": 3.0, **fields}
    return {"mobile_inverted_conv": {"name": "MBInvertedConvLayer", **own}, "shortcut": shortcut}


def _once_for_all() -> Layer:
    return {
        "name": "MobileNetV3",
        "first_conv": _conv(3, 16, 3, 2),
        "blocks": [
            _block(16, 24, stride=2, mid_channels=40, act_func="relu", use_se=True),
            _block(24, 24, act_func="h_swish", use_se=False, shortcut=_IDENTITY),
        ],
        "final_expand_layer": _conv(24, 96),
        "feature_mix_layer": _conv(96, 128),
        "classifier": {"name": "LinearLayer", "in_features": 128, "out_features": 10},
    }


def _read(folder: Path, config: Layer, image_size: int = 64) -> NetworkSpec:
    (folder / "net.config").write_text(json.dumps(config))
    return read_proxyless_config(folder / "net.config", image_size)


def test_a_once_for_all_network_is_read_with_its_squeeze_excite_activations_widths_and_last_layers(tmp_path: Path):
    side = {"in_height": 16, "in_width": 16}
    assert _read(tmp_path, _once_for_all()).ops == (
        ConvSpec(
            in_channels=3, in_height=64, in_width=64, out_channels=16, kernel_size=3, stride=2, activation="hswish"
        ),
        MBConvSpec(
            in_channels=16, in_height=32, in_width=32, out_channels=24, expand_channels=40, kernel_size=5, stride=2,
            squeeze_channels=16, activation="relu",
        ),
        MBConvSpec(
            in_channels=24, out_channels=24, expand_channels=72, kernel_size=5, activation="hswish",
            has_residual=True, **side,
        ),
        ConvSpec(in_channels=24, out_channels=96, kernel_size=1, activation="hswish", **side),
        PoolSpec(in_channels=96, pool="global_average", **side),
        LinearSpec(in_features=96, out_features=128, activation="hswish"),
        LinearSpec(in_features=128, out_features=10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"first_conv": _conv(3, 16, 3, 2) | {"has_shuffle": True}}, "shuffles channels"),
        ({"first_conv": _conv(3, 16, 3, 2) | {"use_se": True}}, "squeeze-excite"),
        ({"first_conv": _conv(3, 16, 3, 2) | {"ops_order": "bn_act_weight"}}, "order bn_act_weight"),
        ({"first_conv": _conv(3, 16, 3, 2, act="mish")}, "mish"),
        ({"blocks": [_block(16, 24, shortcut=_conv(16, 24))]}, "shortcut of the kind ConvLayer"),
        ({"blocks": [_block(16, 24, groups=2)]}, "2 groups"),
        ({"blocks": [{"mobile_inverted_conv": _conv(16, 24), "shortcut": None}]}, "only MBInvertedConvLayer"),
        ({"feature_mix_layer": _conv(96, 128, 3)}, "after the pool"),
        ({"neck": _conv(24, 24)}, "no op spec stands for its neck"),
        ({"blocks": 3}, "no ProxylessNAS network"),
    ],
)
def test_what_a_published_network_holds_and_no_spec_has_is_refused_by_name(tmp_path: Path, change: Layer, why: str):
    with pytest.raises(LatencyModelError, match=why):
        _read(tmp_path, _once_for_all() | change)


def test_a_published_network_is_priced_by_its_file_at_the_size_and_batch_that_is_asked_for(tmp_path: Path):
    _read(tmp_path, _once_for_all())
    path = tmp_path / "net.config"
    assert read_network(path).ops[0].input_shape == (1, 3, 224, 224)
    assert read_network(path, (4, 3, 96, 96)).ops[0].input_shape == (4, 3, 96, 96)
    for shape in ((1, 3, 96, 64), (1, 1, 96, 96), (1, 3, 96)):
        with pytest.raises(LatencyModelError, match="takes"):
            read_network(path, shape)
