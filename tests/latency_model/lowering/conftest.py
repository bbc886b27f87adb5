"""Runs model files in their runtimes, and draws ops to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    FusedMBConvSpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
)

Arrays = list[np.ndarray]
Run = Callable[..., np.ndarray]

ACTIVATIONS = st.sampled_from(["none", "relu", "relu6", "hswish", "hsigmoid", "sigmoid", "swish"])
WIDTHS = st.integers(1, 12)
MANY = st.sampled_from([8, 12, 16, 24])  # enough channels for a signal-to-noise ratio to mean something
WINDOWS = {"kernel_size": st.sampled_from([1, 3, 5, 7]), "stride": st.integers(1, 3)}


@pytest.fixture(scope="session")
def run_onnx() -> Run:
    """(model bytes, NCHW inputs) -> NCHW output, by onnxruntime."""
    import onnxruntime

    def run(model: bytes, *inputs: np.ndarray) -> np.ndarray:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        (output,) = session.run(["output"], dict(zip(names, inputs, strict=True)))
        return np.asarray(output)

    return run


@pytest.fixture(scope="session")
def run_tflite() -> Run:
    """(model bytes, NCHW inputs) -> NCHW output, by LiteRT; the layout is turned on the way."""
    from ai_edge_litert.interpreter import Interpreter

    def run(model: bytes, *inputs: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
            turned = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
            interpreter.set_tensor(detail["index"], np.ascontiguousarray(turned))
        interpreter.invoke()
        (detail,) = interpreter.get_output_details()
        output = interpreter.get_tensor(detail["index"])
        return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output

    return run


@pytest.fixture(scope="session")
def op_specs() -> Callable[[Dtype], st.SearchStrategy[OpSpec]]:
    """dtype -> a strategy over every kind of op that can be written to a file."""
    return _op_specs


def _op_specs(dtype: Dtype) -> st.SearchStrategy[OpSpec]:
    base = {"batch": st.integers(1, 3), "dtype": st.just(dtype)}
    widths = MANY if dtype == "int8" else WIDTHS
    image = base | {"in_channels": widths, "in_height": st.integers(1, 17), "in_width": st.integers(1, 17)}
    activated = {"activation": ACTIVATIONS}
    return st.one_of(
        st.builds(_conv, st.fixed_dictionaries(image | WINDOWS | activated), widths, st.integers(1, 4)),
        st.builds(DepthwiseConvSpec, **image, **WINDOWS, **activated, dilation=st.integers(1, 2)),
        st.builds(LinearSpec, **base, in_features=widths, out_features=widths, **activated),
        st.builds(PoolSpec, **image, **WINDOWS, pool=st.sampled_from(["average", "max"])),
        st.builds(PoolSpec, **image, pool=st.just("global_average")),
        st.builds(AddSpec, **image, **activated),
        st.builds(ActivationSpec, **image, activation=ACTIVATIONS.filter(lambda name: name != "none")),
        st.builds(SqueezeExciteSpec, **image, squeeze_channels=widths, **activated, gate=ACTIVATIONS),
        st.builds(
            _block,
            st.sampled_from([MBConvSpec, FusedMBConvSpec]),
            st.fixed_dictionaries(image | WINDOWS | activated),
            widths,
            st.none() | widths,
        ),
        st.builds(SeparableConvSpec, **image, **WINDOWS, **activated, out_channels=widths, dilation=st.integers(1, 2)),
        st.builds(_padded, st.fixed_dictionaries(image), st.integers(1, 12)),
    )


def _padded(fields: dict[str, Any], added: int) -> PadChannelsSpec:
    return PadChannelsSpec(out_channels=fields["in_channels"] + added, **fields)


def _conv(fields: dict[str, Any], width: int, groups: int) -> ConvSpec:
    channels = fields.pop("in_channels") * groups
    return ConvSpec(in_channels=channels, out_channels=width * groups, groups=groups, dilation=1 + width % 2, **fields)


def _block(cls: type[Any], fields: dict[str, Any], width: int, squeeze_channels: int | None) -> OpSpec:
    is_residual = fields["stride"] == 1 and width % 2 == 0
    block: OpSpec = cls(
        out_channels=fields["in_channels"] if is_residual else width,
        expand_channels=fields["in_channels"] * (1 + width % 4),
        squeeze_channels=squeeze_channels,
        has_residual=is_residual,
        **fields,
    )
    return block
