"""Fusion rules are data, seen in the runtimes' own profiles."""

from __future__ import annotations

import platform
from importlib import metadata
from types import SimpleNamespace

import pytest

from latency_model.cli_campaign import doubt_about_kernels
from latency_model.errors import LatencyModelError, SchemaError
from latency_model.fusion import kernels_as_run, load_fusion_rules, rules_doubt
from latency_model.fusion.litert_profile import ProfilerNotAvailable, kernels_in_summary, profile_kernels
from latency_model.fusion.observe import RUNTIMES, observe_fusion
from latency_model.fusion.onnxruntime_profile import kernels_in_profile
from latency_model.fusion.rules import rules_from_json, rules_to_json
from latency_model.kernels import kernels_of
from latency_model.ops import ActivationSpec, ConvSpec, DepthwiseConvSpec, MBConvSpec

IMAGE = {"in_channels": 8, "in_height": 6, "in_width": 6}
BLOCK = MBConvSpec(out_channels=8, expand_channels=16, kernel_size=3, activation="hswish", has_residual=True, **IMAGE)


def test_onnxruntime_runs_a_hard_swish_inside_the_convolution_and_litert_beside_it():
    assert kernels_as_run(BLOCK, load_fusion_rules("onnxruntime")) == kernels_of(BLOCK)
    wide = {**IMAGE, "in_channels": 16}
    hswish = ActivationSpec(activation="hswish", **wide)
    project, add = kernels_of(BLOCK)[2:]
    assert kernels_as_run(BLOCK, load_fusion_rules("litert")) == (
        ConvSpec(out_channels=16, kernel_size=1, **IMAGE),
        hswish,
        DepthwiseConvSpec(kernel_size=3, **wide),
        hswish,
        project,
        add,
    )


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_every_runtime_comes_with_rules_for_every_dtype_and_fuses_a_relu6(runtime, dtype):
    assert "relu6" in load_fusion_rules(runtime, dtype).fused_activations["conv"]


def test_a_runtime_without_rules_is_refused_with_the_ones_that_have_some():
    with pytest.raises(LatencyModelError, match="litert, onnxruntime"):
        load_fusion_rules("ncnn")
    with pytest.raises(LatencyModelError, match="onnxruntime, litert"):
        observe_fusion("ncnn", "fp32")


def test_rules_are_read_back_as_written_and_a_foreign_schema_is_refused():
    rules = load_fusion_rules("litert")
    assert rules_from_json(rules_to_json(rules)) == rules
    with pytest.raises(SchemaError, match="schema 2"):
        rules_from_json({**rules_to_json(rules), "schema": 2})


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_rules_that_come_along_are_what_the_runtime_does_here(runtime):
    shipped = load_fusion_rules(runtime)
    if shipped.runtime_version != metadata.version(RUNTIMES[runtime]):
        pytest.skip(f"rules were seen with {runtime} {shipped.runtime_version}; another version is installed")
    if shipped.system != f"{platform.system()} {platform.machine()}":
        pytest.skip(f"rules were seen on {shipped.system}")
    try:
        seen = observe_fusion(runtime, "fp32")
    except ProfilerNotAvailable as reason:
        pytest.skip(str(reason))
    assert seen.fused_activations == shipped.fused_activations
    assert seen.fuses_residual_add == shipped.fuses_residual_add


SUMMARY = """\
================================ Run Order ================================
                           [node type]    [start]    [first]   [avg ms]        [%]   [Name]
Delegate/Fully Connected (NC, F32) GEMM      0.000      0.027      0.020    35.714%   [Delegate]:0
               Delegate/HardSwish (NC)      0.000      0.007      0.002     4.167%   [Delegate]:1
                       AVERAGE_POOL_2D      0.000      0.007      0.002     4.167%   [pool]:2

=========================== Top by Computation Time ========================
Delegate/Fully Connected (NC, F32) GEMM      0.000      0.027      0.020    35.714%   [Delegate]:0
"""


def test_kernels_are_read_from_the_first_table_of_litert_s_summary():
    assert kernels_in_summary(SUMMARY) == ["Fully Connected (NC, F32) GEMM", "HardSwish (NC)", "AVERAGE_POOL_2D"]
    with pytest.raises(ProfilerNotAvailable, match="Run Order"):
        kernels_in_summary("something else")


def test_kernels_are_read_from_onnxruntime_s_profile_without_changes_of_layout():
    def event(category: str, name: str, operator: str) -> dict[str, object]:
        return {"cat": category, "name": name, "args": {"op_name": operator}}

    events = [
        {"cat": "Session", "name": "model_loading"},
        event("Node", "op_kernel_time", "Conv"),
        event("Node", "op_fence_before", "Conv"),
        event("Node", "reorder_kernel_time", "ReorderOutput"),
    ]
    assert kernels_in_profile(events) == ["Conv"]


def test_a_profiler_that_fails_is_a_clear_error_and_does_not_take_the_caller_with_it(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(ProfilerNotAvailable, match=r"did not run.*ai-edge-litert"):
        profile_kernels(broken)


def test_rules_are_doubted_where_the_device_differs_from_what_they_were_observed_on():
    rules = load_fusion_rules("onnxruntime")
    same = {"version": rules.runtime_version, "accelerator": "cpu", "system": rules.system}
    assert rules_doubt("onnxruntime", **same) is None
    assert rules_doubt("onnxruntime", **same | {"system": None}) is None
    for name, value in (("version", "0.1"), ("accelerator", "gpu"), ("system", "Linux aarch64")):
        doubt = rules_doubt("onnxruntime", **same | {name: value})
        assert f"this is {name} {value}. " in doubt and rules.runtime_version in doubt and rules.system in doubt
    assert rules_doubt("torch", version="2.0") is None  # without rules there is nothing to doubt


def test_a_campaign_of_kernels_asks_the_device_what_it_is():
    rules = load_fusion_rules("litert")
    runtime = SimpleNamespace(accelerator="cpu")
    facts = SimpleNamespace(
        runtime_name="litert", runtime_version=rules.runtime_version, details={"system": "Linux", "machine": "aarch64"}
    )
    session = SimpleNamespace(facts=facts, device=SimpleNamespace(runtime=runtime))
    assert "this is system Linux aarch64" in doubt_about_kernels(session)
    facts.details = {"system": "Linux", "machine": None}
    assert doubt_about_kernels(session) is None
