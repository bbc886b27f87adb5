"""How fast networks become model files, and how well the files agree with torch.

Models are made and packed to bytes, weights given: single ops and blocks such as a profiling campaign writes.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.claims import Claim, Options, at_least, at_most, run_benchmark
from latency_model.lowering import (
    Int8Options,
    Weights,
    nominal_ranges,
    onnx_bytes,
    random_weights,
    run_torch,
    tflite_bytes,
)
from latency_model.network import NetworkSpec, single_op_network, with_dtype
from latency_model.ops import ConvSpec, DepthwiseConvSpec, Dtype, LinearSpec, MBConvSpec, OpSpec, PoolSpec

AIM_MODELS_PER_SECOND = 500
AIM_RELATIVE_ERROR = 1e-5
ROUNDS = 5


def measure(options: Options) -> Iterator[Claim]:
    networks = [single_op_network(op) for op in campaign_ops()]
    weights = [random_weights(network) for network in networks]
    seconds = 0.3 if options.quick else 1.5
    dtypes: tuple[Dtype, ...] = ("fp32", "fp16", "int8")
    for (form, to_bytes), dtype in itertools.product((("TFLite", tflite_bytes), ("ONNX", onnx_bytes)), dtypes):
        work = [(with_dtype(network, dtype), weight) for network, weight in zip(networks, weights, strict=True)]
        rates = [models_per_second(to_bytes, work, seconds) for _ in range(ROUNDS)]
        yield at_least(
            f"{form} models written, {dtype}",
            statistics.median(rates),
            AIM_MODELS_PER_SECOND,
            unit="models/s",
            spread=(min(rates), max(rates)),
        )
    errors = [relative_errors(network, weight) for network, weight in zip(networks, weights, strict=True)]
    for form, worst in zip(("ONNX", "TFLite"), np.max(errors, axis=0), strict=True):
        yield at_most(
            f"{form} fp32 against torch, largest error over {len(networks)} models",
            float(worst),
            AIM_RELATIVE_ERROR,
            unit="of the largest output",
        )


def campaign_ops() -> list[OpSpec]:
    """What a campaign over a mobile space and its kernels would write."""
    side = {"in_height": 14, "in_width": 14}
    blocks: list[OpSpec] = [
        MBConvSpec(
            in_channels=width,
            out_channels=width,
            expand_channels=width * expansion,
            kernel_size=kernel_size,
            has_residual=True,
            squeeze_channels=squeeze,
            activation="hswish",
            **side,
        )
        for width, expansion, kernel_size, squeeze in itertools.product((24, 48), (3, 6), (3, 5, 7), (None, 16))
    ]
    kernels: list[OpSpec] = [
        kernel
        for width in (16, 64)
        for kernel in (
            ConvSpec(in_channels=width, out_channels=64, kernel_size=3, stride=2, activation="relu6", **side),
            DepthwiseConvSpec(in_channels=width, kernel_size=5, activation="relu6", **side),
            PoolSpec(in_channels=width, pool="average", kernel_size=3, **side),
            LinearSpec(in_features=width, out_features=100),
        )
    ]
    return blocks + kernels


def models_per_second(to_bytes: Callable[..., bytes], work: list[tuple[NetworkSpec, Weights]], seconds: float) -> float:
    int8 = Int8Options(ranges=nominal_ranges())
    started = time.perf_counter()
    count = 0
    for network, weights in itertools.cycle(work):
        to_bytes(network, weights, int8=int8)
        count += 1
        if count % len(work) == 0 and time.perf_counter() - started > seconds:
            break
    return count / (time.perf_counter() - started)


def relative_errors(network: NetworkSpec, weights: Weights) -> tuple[float, float]:
    """Largest difference of the ONNX and the TFLite file from torch, over the largest output."""
    import onnxruntime  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    inputs = torch.randn(network.input_shape, generator=torch.Generator().manual_seed(0))
    expected = run_torch(network, weights, inputs).numpy()
    session = onnxruntime.InferenceSession(onnx_bytes(network, weights), providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(None, {"input": inputs.numpy()})
    interpreter = Interpreter(model_content=tflite_bytes(network, weights), num_threads=1)
    interpreter.allocate_tensors()
    is_image = inputs.ndim == 4
    fed = np.ascontiguousarray(inputs.permute(0, 2, 3, 1).numpy()) if is_image else inputs.numpy()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed)
    interpreter.invoke()
    by_tflite = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if by_tflite.ndim == 4:
        by_tflite = by_tflite.transpose(0, 3, 1, 2)
    largest = float(np.abs(expected).max())
    return tuple(float(np.abs(found - expected).max()) / largest for found in (by_onnx, by_tflite))


if __name__ == "__main__":
    run_benchmark("lowering", measure)
