"""The kernels that rules promise for a whole network are those that the runtime runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from latency_model.fusion import load_fusion_rules, onnxruntime_profile
from latency_model.fusion.litert_profile import ProfilerNotAvailable, profile_kernels
from latency_model.ingest import ingest_network
from latency_model.lowering import random_weights, write_onnx, write_tflite
from latency_model.network import NetworkSpec
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, PoolSpec

VIEWS = {"Static Reshape (NC)", "Flatten", "Reshape"}  # no work: a linear layer's change of shape


def network_of(activation: str) -> NetworkSpec:
    side = {"in_height": 14, "in_width": 14}
    block = {"in_channels": 32, "out_channels": 32, "expand_channels": 96, "kernel_size": 3, "activation": activation}
    stem = ConvSpec(
        in_channels=3, in_height=28, in_width=28, out_channels=32, kernel_size=3, stride=2, activation=activation
    )
    return NetworkSpec(
        name=activation,
        layers=(
            ("stem", stem),
            ("b0", MBConvSpec(**side, **block)),
            ("b1", MBConvSpec(has_residual=True, **side, **block)),
            ("b2", MBConvSpec(has_residual=True, **side, **block)),
            ("pool", PoolSpec(in_channels=32, pool="global_average", **side)),
            ("classifier", LinearSpec(in_features=32, out_features=10)),
        ),
    )


@pytest.mark.parametrize("activation", ["relu", "relu6", "hswish", "sigmoid"])
def test_litert_runs_as_many_kernels_as_its_rules_say(activation, tmp_path: Path):
    network = network_of(activation)
    write_tflite(network, random_weights(network), tmp_path / "net.tflite")
    try:
        seen = profile_kernels(tmp_path / "net.tflite")
    except ProfilerNotAvailable as reason:
        pytest.skip(str(reason))
    expected = ingest_network(network).as_run(load_fusion_rules("litert"))
    assert len([kernel for kernel in seen if kernel not in VIEWS]) == len(expected.kernels)


@pytest.mark.parametrize("activation", ["relu", "relu6", "hswish", "sigmoid"])
def test_onnxruntime_runs_as_many_kernels_as_its_rules_say_with_sums_inside_convolutions(activation, tmp_path: Path):
    network = network_of(activation)
    write_onnx(network, random_weights(network), tmp_path / "net.onnx")
    seen = onnxruntime_profile.profile_kernels(tmp_path / "net.onnx")
    rules = load_fusion_rules("onnxruntime")
    expected = ingest_network(network).as_run(rules).ops
    sums = sum(op.kind == "add" for op in expected) if rules.fuses_residual_add else 0
    assert len([kernel for kernel in seen if kernel not in VIEWS]) == len(expected) - sums


def test_an_activation_that_stands_alone_is_named_after_the_layer_that_it_follows():
    names = [kernel.name for kernel in ingest_network(network_of("hswish")).as_run(load_fusion_rules("litert")).kernels]
    assert names[:4] == ["stem", "stem.activation", "b0.expand", "b0.expand.activation"]
