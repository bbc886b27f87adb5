"""Networks are described as their predictor was measured: by blocks, or by the kernels that a runtime runs them as."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latency_model.fit import fit_ops
from latency_model.grain import described_for
from latency_model.op_timings import OpTimings
from latency_model.ops import ActivationSpec, ConvSpec

RUNTIME = "onnxruntime"
CONVS = [
    ConvSpec(in_channels=channels, in_height=side, in_width=side, out_channels=channels, kernel_size=kernel)
    for channels in (8, 16, 32)
    for side in (8, 16)
    for kernel in (1, 3)
]
SWISHES = [
    ActivationSpec(in_channels=channels, in_height=side, in_width=side, activation="swish")
    for channels in (8, 16)
    for side in (8, 16)
]


@pytest.fixture(scope="module")
def regressor():
    ops = (*CONVS, *SWISHES)
    latency_ms = np.linspace(0.01, 0.2, len(ops))
    timings = OpTimings(ops=ops, latency_ms=latency_ms, relative_error=np.full(len(ops), 0.01))
    return fit_ops(timings, "roofline", 0.9, 0)[0]


def test_an_activation_that_is_not_fused_is_a_kernel_of_its_own_where_both_were_measured(regressor):
    joined = replace(CONVS[0], activation="swish")
    assert described_for(regressor, [joined], RUNTIME) == (CONVS[0], SWISHES[0])
    fused = replace(CONVS[0], activation="relu")
    assert described_for(regressor, [fused, CONVS[1]], RUNTIME) == (fused, CONVS[1])


def test_an_op_whose_kernels_were_not_all_measured_is_left_to_the_regressor(regressor):
    apart = replace(CONVS[-1], activation="swish")  # its convolution was measured, a swish of that size was not
    assert described_for(regressor, [apart], RUNTIME) == (apart,)
