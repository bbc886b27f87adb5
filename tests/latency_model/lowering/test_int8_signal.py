"""8-bit files keep 30 dB of signal, or nearly all that 8-bit activations can keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor

from latency_model.lowering import Int8Options, calibrate, onnx_bytes, random_weights, run_torch, tflite_bytes
from latency_model.lowering.emit import emit_network
from latency_model.lowering.quantization import Ranges, params_of_value
from latency_model.lowering.torch_emitter import TorchEmitter, activated
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import Activation, AddSpec, FusedMBConvSpec, MBConvSpec, OpSpec

LEAST_DB = 30
# What 8-bit weights and rounded requantisation may take away beside the activations.
MOST_LOST_DB = 1.0
SOFT = ("hswish", "swish")
WORST_SOFT_BLOCK = MBConvSpec(
    in_channels=16,
    in_height=17,
    in_width=16,
    out_channels=24,
    expand_channels=96,
    kernel_size=1,
    squeeze_channels=24,
    activation="swish",
    dtype="int8",
)
SOFT_BLOCK_OF_A_SPACE = MBConvSpec(
    batch=2,
    in_channels=8,
    in_height=7,
    in_width=16,
    out_channels=8,
    expand_channels=96,
    kernel_size=3,
    squeeze_channels=24,
    activation="swish",
    dtype="int8",
)


class IdealQuantizer(TorchEmitter):
    """Exact weights and arithmetic; only the values that a file has to store in 8 bits are rounded to them."""

    def __init__(self, weights: dict[str, np.ndarray], inputs: list[Tensor], ranges: Ranges) -> None:
        super().__init__(weights, inputs, observe=None)
        self._ranges = ranges

    def _seen(self, value: Tensor, name: str) -> Tensor:
        params = params_of_value(self._ranges, name)
        integers = (value / params.scale).round().add(params.zero_point).clamp(-128, 127)
        return (integers - params.zero_point) * params.scale

    def _activated(self, x: Tensor, activation: Activation, name: str) -> Tensor:
        if activation in {"none", "relu", "relu6"}:  # part of the operator: nothing is stored before them
            return self._seen(activated(x, activation), name)
        return self.activate(self._seen(x, f"{name}.linear"), activation, name)


def signal_to_noise_db(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.square(found - expected, dtype=np.float64).sum())
    return 10 * math.log10(float(np.square(expected, dtype=np.float64).sum()) / max(noise, 1e-30))


@pytest.fixture(scope="session")
def signal_db(run_onnx, run_tflite):
    """(op, seed) -> the lower of both files' signal-to-noise ratios, and that of an ideal quantizer."""

    def judge(op: OpSpec, seed: int = 1) -> tuple[float, float]:
        network = single_op_network(op)
        weights = random_weights(network, seed=seed)
        generator = torch.Generator().manual_seed(seed + 1)
        shapes = [op.input_shape] * (2 if isinstance(op, AddSpec) else 1)
        inputs = [torch.randn(shape, generator=generator) for shape in shapes]
        expected = run_torch(network, weights, *inputs).numpy()
        if np.abs(expected).max() <= 0.05:
            reject()  # an output that is zero has no signal
        int8 = Int8Options(ranges=calibrate(network, weights, [inputs]), io="float")
        arrays = [value.numpy() for value in inputs]
        files = (
            run_onnx(onnx_bytes(network, weights, int8=int8), *arrays),
            run_tflite(tflite_bytes(network, weights, int8=int8), *arrays),
        )
        assert all(found.shape == network.output_shape for found in files)
        ideal = _ideal(network, weights, inputs, int8.ranges)
        return min(signal_to_noise_db(expected, found) for found in files), signal_to_noise_db(expected, ideal)

    return judge


def _ideal(network: NetworkSpec, weights: dict[str, np.ndarray], inputs: list[Tensor], ranges: Ranges) -> np.ndarray:
    with torch.inference_mode():
        return emit_network(IdealQuantizer(weights, inputs, ranges), network).numpy()


def is_bound_by_activations(op: OpSpec) -> bool:
    """Whether an ideal quantizer, too, is below 30 dB for some weights: inverted blocks that store up to seven values
    in 8 bits, two at each hswish or swish, or whose depthwise kernel is one weight that scales a whole channel."""
    return isinstance(op, MBConvSpec) and (op.activation in SOFT or op.kernel_size == 1)


def inverted_blocks(activations: st.SearchStrategy[str]) -> st.SearchStrategy[MBConvSpec | FusedMBConvSpec]:
    fields = {
        "batch": st.integers(1, 3),
        "dtype": st.just("int8"),
        "in_channels": st.sampled_from([8, 16, 24]),
        "in_height": st.integers(1, 17),
        "in_width": st.integers(1, 17),
        "out_channels": st.sampled_from([8, 12, 24]),
        "expand_channels": st.sampled_from([24, 48, 96]),
        "kernel_size": st.sampled_from([1, 3, 5, 7]),
        "stride": st.integers(1, 3),
        "squeeze_channels": st.sampled_from([None, 8, 24]),
        "activation": activations,
    }
    return st.one_of(st.builds(MBConvSpec, **fields), st.builds(FusedMBConvSpec, **fields))


@settings(max_examples=250, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_kind_of_op_keeps_30_decibels_in_8_bits(data, op_specs, signal_db):
    op = data.draw(op_specs("int8"))
    assume(not is_bound_by_activations(op))
    files_db, _ = signal_db(op)
    assert files_db >= LEAST_DB


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    op=inverted_blocks(st.sampled_from(["none", "relu", "relu6", "hswish", "hsigmoid", "sigmoid", "swish"])),
    seed=st.integers(1, 1000),
)
def test_blocks_keep_30_decibels_in_8_bits_whatever_their_weights(op, seed, signal_db):
    assume(not is_bound_by_activations(op))
    files_db, _ = signal_db(op, seed)
    assert files_db >= LEAST_DB


@settings(max_examples=150, derandomize=True, deadline=None)
@given(op=inverted_blocks(st.sampled_from(SOFT)), seed=st.integers(1, 1000))
@example(op=SOFT_BLOCK_OF_A_SPACE, seed=400)
@example(op=WORST_SOFT_BLOCK, seed=675)
def test_the_rest_keep_30_decibels_or_what_an_ideal_quantizer_of_their_activations_keeps(op, seed, signal_db):
    assume(math.prod(op.output_shape) >= 100)  # a ratio over a few dozen numbers is itself a matter of luck
    files_db, ideal_db = signal_db(op, seed)
    assert files_db >= min(LEAST_DB, ideal_db) - MOST_LOST_DB


@pytest.mark.parametrize(("op", "seed"), [(SOFT_BLOCK_OF_A_SPACE, 400), (WORST_SOFT_BLOCK, 675)])
def test_the_worst_blocks_are_bound_by_their_8_bit_activations_not_by_the_files(op, seed, signal_db):
    files_db, ideal_db = signal_db(op, seed)
    assert ideal_db < LEAST_DB
    assert files_db >= ideal_db - MOST_LOST_DB
