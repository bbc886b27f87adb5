"""Networks in the JSON form that the ProxylessNAS and Once-for-All authors published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latency_model.errors import LatencyModelError
from latency_model.network import NetworkSpec
from latency_model.ops import Activation, ConvSpec, LinearSpec, MBConvSpec, OpSpec, PoolSpec
from latency_model.readers.widths import squeezed_width

Layer = dict[str, Any]

_ACTIVATIONS: dict[str | None, Activation] = {
    None: "none",
    "relu": "relu",
    "relu6": "relu6",
    "h_swish": "hswish",
    "h_sigmoid": "hsigmoid",
    "sigmoid": "sigmoid",
    "swish": "swish",
}
_OUTER_LAYERS = {"first_conv": "ConvLayer", "final_expand_layer": "ConvLayer", "feature_mix_layer": "ConvLayer"}
_ORDER = "weight_bn_act"


def read_proxyless_config(path: Path, image_size: int = 224) -> NetworkSpec:
    """Read a published network; blocks that were skipped are left out.

    Raises:
        LatencyModelError: no such file, no such network, or a layer that our specs cannot express.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
        return NetworkSpec(name=path.stem, layers=tuple(_layers(config, image_size)))
    except OSError as error:
        raise LatencyModelError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LatencyModelError(f"{path} is no ProxylessNAS network: {error!r}.") from error


def _layers(config: Layer, image_size: int) -> list[tuple[str, OpSpec]]:
    known = {*_OUTER_LAYERS, "classifier"}
    if others := [
        key for key, value in config.items() if isinstance(value, dict) and "name" in value and key not in known
    ]:
        raise ValueError(f"no op spec stands for its {', '.join(others)}")
    layers: list[tuple[str, OpSpec]] = [("stem", _conv(config["first_conv"], image_size))]
    layers += _blocks(config["blocks"], _side_after(layers[0][1]))
    side = _side_after(layers[-1][1])
    mix = config["feature_mix_layer"]
    expand = config.get("final_expand_layer")
    last = _conv(mix if expand is None else expand, side)
    layers.append(("last", last))
    pooled = PoolSpec(
        in_channels=last.out_channels, in_height=last.out_height, in_width=last.out_width, pool="global_average"
    )
    layers.append(("pool", pooled))
    if expand is not None:
        layers.append(("mix", _on_one_pixel(_conv(mix, 1))))
    classifier = config["classifier"]
    features = int(classifier["out_features"])
    layers.append(("classifier", LinearSpec(in_features=int(classifier["in_features"]), out_features=features)))
    return layers


def _on_one_pixel(conv: ConvSpec) -> LinearSpec:
    """Once-for-All mixes features after the pool, by a convolution: on one pixel it is a fully connected layer."""
    if conv.kernel_size != 1 or conv.groups != 1:
        raise ValueError(f"the convolution after the pool is {conv.key}; only one of 1x1 without groups is read")
    return LinearSpec(in_features=conv.in_channels, out_features=conv.out_channels, activation=conv.activation)


def _blocks(blocks: list[Layer], side: int) -> Iterator[tuple[str, OpSpec]]:
    for index, block in enumerate(blocks):
        conv = block["mobile_inverted_conv"] if "mobile_inverted_conv" in block else block["conv"]
        shortcut = block["shortcut"]
        if shortcut is not None and shortcut["name"] != "IdentityLayer":
            raise ValueError(f"block {index} has a shortcut of the kind {shortcut['name']}; only IdentityLayer is read")
        if conv["name"] == "ZeroLayer":
            continue
        op = _block(_of_kind(conv, "MBInvertedConvLayer"), side, has_residual=shortcut is not None)
        yield f"block{index}", op
        side = op.out_height


def _side_after(op: OpSpec) -> int:
    assert isinstance(op, ConvSpec | MBConvSpec)
    return op.out_height


def _of_kind(layer: Layer, kind: str) -> Layer:
    if (name := layer.get("name", kind)) != kind:
        raise ValueError(f"a layer of the kind {name} stands where only {kind} is read")
    if (order := layer.get("ops_order", _ORDER)) != _ORDER:
        raise ValueError(f"its layers run in the order {order}; only {_ORDER} is read")
    if layer.get("has_shuffle"):
        raise ValueError("a layer shuffles channels; no op spec stands for that")
    return layer


def _conv(layer: Layer, side: int) -> ConvSpec:
    layer = _of_kind(layer, "ConvLayer")
    if layer.get("use_se"):
        raise ValueError("a convolution has squeeze-excite; only inverted blocks may")
    return ConvSpec(
        in_channels=layer["in_channels"],
        in_height=side,
        in_width=side,
        out_channels=layer["out_channels"],
        kernel_size=layer["kernel_size"],
        stride=layer["stride"],
        groups=layer.get("groups") or 1,
        dilation=layer.get("dilation") or 1,
        activation=_ACTIVATIONS[layer["act_func"]],
    )


def _block(layer: Layer, side: int, has_residual: bool) -> MBConvSpec:
    if (layer.get("groups") or 1) != 1:
        raise ValueError(f"an inverted block has {layer['groups']} groups; no op spec stands for that")
    wide = layer.get("mid_channels") or round(layer["in_channels"] * layer["expand_ratio"])
    return MBConvSpec(
        in_channels=layer["in_channels"],
        in_height=side,
        in_width=side,
        out_channels=layer["out_channels"],
        expand_channels=wide,
        kernel_size=layer["kernel_size"],
        stride=layer["stride"],
        squeeze_channels=squeezed_width(wide) if layer.get("use_se") else None,
        activation=_ACTIVATIONS[layer.get("act_func", "relu6")],
        has_residual=has_residual,
    )
