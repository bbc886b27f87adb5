"""Networks in the JSON form that the ProxylessNAS authors published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latency_model.errors import LatencyModelError
from latency_model.network import NetworkSpec
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, OpSpec, PoolSpec


def read_proxyless_config(path: Path, image_size: int = 224) -> NetworkSpec:
    """Read a published network; blocks that were skipped are left out.

    Raises:
        LatencyModelError: no such file, or no such network.
    """
    try:
        config = json.loads(path.read_text())
        return NetworkSpec(name=path.stem, layers=tuple(_layers(config, image_size)))
    except OSError as error:
        raise LatencyModelError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise LatencyModelError(f"{path} is no ProxylessNAS network: {error!r}.") from error


def _layers(config: dict[str, Any], image_size: int) -> list[tuple[str, OpSpec]]:
    first = config["first_conv"]
    layers: list[tuple[str, OpSpec]] = [("stem", _conv(first, image_size))]
    side = -(-image_size // int(first["stride"]))
    for index, block in enumerate(config["blocks"]):
        conv = block["mobile_inverted_conv"]
        if conv["name"] == "ZeroLayer":
            continue
        layers.append((f"block{index}", _block(conv, side, has_residual=block["shortcut"] is not None)))
        side = -(-side // int(conv["stride"]))
    mix, classifier = config["feature_mix_layer"], config["classifier"]
    layers.append(("last", _conv(mix, side)))
    width = int(mix["out_channels"])
    layers.append(("pool", PoolSpec(in_channels=width, in_height=side, in_width=side, pool="global_average")))
    features = int(classifier["out_features"])
    layers.append(("classifier", LinearSpec(in_features=int(classifier["in_features"]), out_features=features)))
    return layers


def _conv(layer: dict[str, Any], side: int) -> ConvSpec:
    return ConvSpec(
        in_channels=layer["in_channels"],
        in_height=side,
        in_width=side,
        out_channels=layer["out_channels"],
        kernel_size=layer["kernel_size"],
        stride=layer["stride"],
        activation=layer["act_func"] or "none",
    )


def _block(layer: dict[str, Any], side: int, has_residual: bool) -> MBConvSpec:
    return MBConvSpec(
        in_channels=layer["in_channels"],
        in_height=side,
        in_width=side,
        out_channels=layer["out_channels"],
        expand_channels=round(layer["in_channels"] * layer["expand_ratio"]),
        kernel_size=layer["kernel_size"],
        stride=layer["stride"],
        has_residual=has_residual,
    )
