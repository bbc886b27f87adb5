"""The recipes that latency prediction is compared with, on made-up kernels and networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baseline_claims import (
    BY_MACS,
    OURS,
    WholeNetworks,
    comparison_claims,
    corrected_sums_ms,
    judged_run,
    macs_affine_ms,
)
from benchmarks.baseline_forest import KernelForests, kernel_config
from benchmarks.baselines_phones import phone_claims, read_phones
from benchmarks.phone_kernels import numbers_of, op_of
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import read_phone_gpus
from latency_model.errors import UnknownOpError
from latency_model.kernels import macs
from latency_model.op_timings import pooled_timings
from latency_model.ops import AddSpec, ConvSpec, DepthwiseConvSpec, LinearSpec, PoolSpec, SeparableConvSpec

CONV = ConvSpec(in_channels=8, in_height=14, in_width=14, out_channels=16, kernel_size=3, stride=2, activation="relu")
DEPTHWISE = DepthwiseConvSpec(in_channels=16, in_height=7, in_width=7, kernel_size=5)
WIDE, WIDER = replace(CONV, out_channels=32), replace(CONV, out_channels=64)


def latency_of(op):
    return {CONV: 1.0, WIDE: 2.0, WIDER: 4.0, DEPTHWISE: 0.5}[op]


def latencies_of(ops):
    return np.array([latency_of(op) for op in ops])


def forests(*ops):
    return KernelForests.fit(pooled_timings((op, latency_of(op), 0.0) for op in ops), "cpu")


def whole(networks, latency_ms):
    return WholeNetworks(tuple(map(tuple, networks)), np.array(latency_ms))


# The affine recipes


def test_a_device_that_only_counts_multiply_accumulates_is_predicted_exactly_by_them():
    networks = [[CONV], [WIDE], [WIDER, DEPTHWISE], [CONV, WIDER]]
    latency_ms = [3e-6 * sum(map(macs, ops)) + 0.25 for ops in networks]
    predicted = macs_affine_ms(whole(networks[:2], latency_ms[:2]), whole(networks[2:], latency_ms[2:]))
    assert predicted == pytest.approx(latency_ms[2:])


def test_the_affine_correction_finds_what_every_kernel_and_every_network_pays():
    networks = [[CONV], [WIDE] * 2, [WIDER], [CONV] * 3, [WIDER, CONV], [WIDE, WIDER], [DEPTHWISE] * 4]
    latency_ms = [1.1 * sum(map(latency_of, ops)) + 0.2 * len(ops) + 0.5 for ops in networks]
    calibration, judged = whole(networks[:5], latency_ms[:5]), whole(networks[5:], latency_ms[5:])
    assert corrected_sums_ms(latencies_of, calibration, judged) == pytest.approx(judged.latency_ms, rel=0.02)


def test_a_plain_sum_counts_an_op_as_often_as_it_stands_in_the_network():
    assert whole([[CONV, DEPTHWISE, CONV]], [9.0]).sums_ms(latencies_of) == pytest.approx([2.5])


# nn-Meter's recipe


def test_a_type_of_kernel_that_was_never_measured_is_an_error_not_zero():
    with pytest.raises(UnknownOpError, match="no kernel of type 'depthwise' was measured"):
        whole([[CONV, DEPTHWISE]], [1.0]).sums_ms(forests(CONV, WIDE).predict_ms)


def test_a_kind_of_op_that_the_recipe_has_no_features_for_is_an_error_not_zero():
    separable = SeparableConvSpec(in_channels=8, in_height=14, in_width=14, out_channels=8, kernel_size=3)
    with pytest.raises(UnknownOpError, match="no features for 'separable'"):
        forests(CONV).predict_ms([separable])


def test_a_forest_sees_side_channels_window_stride_and_costs_in_millions():
    config = kernel_config(CONV)
    assert config.kernel_type == "conv"
    assert config.features == (14, 8, 16, 3, 2, 7 * 7 * 16 * 8 * 9 / 1e6, (16 * 8 * 9 + 16) / 1e6)


def test_an_activation_makes_no_type_of_its_own_and_a_group_does():
    assert kernel_config(replace(CONV, activation="none")) == kernel_config(CONV)
    assert kernel_config(replace(CONV, groups=4)).kernel_type == "grouped conv"


def test_each_type_of_kernel_is_predicted_from_its_own_measurements_alone():
    predicted = forests(CONV, WIDE, WIDER, DEPTHWISE).predict_ms([DEPTHWISE, WIDER, replace(DEPTHWISE, kernel_size=3)])
    assert predicted[0] == predicted[2] == pytest.approx(0.5)  # the only depthwise kernel that was measured
    assert 1.0 < predicted[1] <= 4.0


def test_an_addition_is_a_kernel_too():
    assert kernel_config(AddSpec(in_channels=8, in_height=7, in_width=7)).features == (7, 8)


# The comparison


def test_a_ratio_above_one_and_a_recipe_that_ranks_better_both_fall_short():
    judged = whole([[CONV], [WIDE], [WIDER]], [1.0, 2.0, 4.0])
    runs = [
        judged_run("here", judged, {OURS: np.array([2.0, 1.8, 4.0]), BY_MACS: np.array([1.5, 2.0, 4.0])}),
        judged_run("there", judged, {OURS: np.array([1.0, 2.0, 4.0]), BY_MACS: np.array([1.5, 2.0, 4.0])}),
    ]
    ratio, ahead = comparison_claims("made up", runs, "two runs")
    assert (ratio.value, ratio.spread, ratio.holds) == (pytest.approx(1.1), (0.0, pytest.approx(2.2)), False)
    assert "here 36.7% against 16.7%, there 0.0% against 16.7%" in ratio.note
    assert not ahead.holds
    assert f"{BY_MACS} in Spearman (1 against 0.75)" in ahead.note


def test_where_ours_is_ahead_in_all_every_claim_holds():
    judged = whole([[CONV], [WIDE], [WIDER]], [1.0, 2.0, 4.0])
    run = judged_run("here", judged, {OURS: np.array([1.0, 2.0, 4.1]), BY_MACS: np.array([4.0, 2.0, 1.0])})
    claims = list(comparison_claims("made up", [run], "one run"))
    assert [claim.holds for claim in claims] == [True, True]
    assert claims[0].spread is None


# Phones

CONV_FEATURE = (
    "{'Input_shape': '16', 'Input_channel': 8, 'Output_shape': '7', 'Stride': '2', 'Kernel': '3', 'Filter': '16', "
    "'Group': '1', 'FLOPS': '112896'}"
)
CONCATENATION = "{'Input_shape': '7', 'Input_channel': 8, 'Output_shape': '7', 'Kernel': '2', 'Filter': '16'}"


def phone_gpus(folder, *rows):
    """Rows of (model, operation, feature), of which every kernel took 1 ms and every network 3 ms; in two files."""
    root = folder / "phone_gpu_kernels"
    root.mkdir()
    kernels = [f'{model},{operation},"{feature}",1000.0' for model, operation, feature in rows]
    networks = [f"{model},3000.0" for model in dict.fromkeys(model for model, _, _ in rows)]
    (root / "tflite_cnn_ops_gpu.csv").write_text("\n".join(["model,operation,feature,phone|gpu|float", *kernels]))
    (root / "tflite_cnn_e2e.csv").write_text("\n".join(["model,phone|gpu|float|mean", *networks]))
    return read_phone_gpus(folder)


def test_a_published_kernel_is_the_op_without_what_is_fused_behind_it():
    assert op_of("CONV_2D", numbers_of(CONV_FEATURE)) == replace(CONV, activation="none")
    pooled = {"Input_shape": 7, "Input_channel": 16, "Output_shape": 1, "Stride": 1, "Kernel": 7}
    assert op_of("AVERAGE_POOL_2D", pooled) == PoolSpec(in_channels=16, in_height=7, in_width=7, pool="global_average")
    assert op_of("FULLY_CONNECTED", {"Input_channel": 8, "Filter": 10}) == LinearSpec(in_features=8, out_features=10)


def test_a_network_with_a_kernel_that_no_op_describes_is_left_out_not_summed_without_it(tmp_path):
    gpus = phone_gpus(
        tmp_path,
        ("plain", "CONV_2D", CONV_FEATURE),
        ("plain", "CONV_2D", CONV_FEATURE),
        ("joined", "CONV_2D", CONV_FEATURE),
        ("joined", "CONCATENATION", CONCATENATION),
        ("damaged", "CONV_2D", "{'Input_shape'"),
    )
    (phone,) = read_phones(gpus)
    assert phone.whole.networks == ((replace(CONV, activation="none"),) * 2,)
    assert phone.whole.latency_ms.tolist() == [3.0]
    assert phone.kernels_ms == ((1.0, 1.0),)


def test_phones_that_are_absent_or_have_too_few_networks_are_said_to_be_not_measured(tmp_path):
    for claims in (
        list(phone_claims(Absent("no such folder"), quick=True)),
        list(phone_claims(phone_gpus(tmp_path, ("plain", "CONV_2D", CONV_FEATURE)), quick=True)),
    ):
        assert len(claims) == 2
        assert all(claim.value is None and not claim.holds for claim in claims)
    assert claims[0].note == "networks by phone: phone 1; 30 are needed"
