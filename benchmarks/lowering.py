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
    calibrate,
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
AIM_INT8_DB = 30


def measure(options: Options) -> Iterator[Claim]:
    networks = [single_op_network(op) for op in campaign_ops()]
    weights = [random_weights(network) for network in networks]
    seconds, rounds = (0.1, 3) if options.quick else (1.0, 5)
    dtypes: tuple[Dtype, ...] = ("fp32", "fp16", "int8")
    for (form, to_bytes), dtype in itertools.product((("TFLite", tflite_bytes), ("ONNX", onnx_bytes)), dtypes):
        work = [(with_dtype(network, dtype), weight) for network, weight in zip(networks, weights, strict=True)]
        rates = [models_per_second(to_bytes, work, seconds) for _ in range(rounds)]
        yield at_least(
            f"{form} models written, {dtype}",
            statistics.median(rates),
            AIM_MODELS_PER_SECOND,
            unit="models/s",
            spread=(min(rates), max(rates)),
        )
    runs = [run_files(network, weight) for network, weight in zip(networks, weights, strict=True)]
    for form in ("ONNX", "TFLite"):
        yield at_most(
            f"{form} fp32 against torch, largest error over {len(networks)} models",
            max(float(np.abs(run[form] - run["torch"]).max() / np.abs(run["torch"]).max()) for run in runs),
            AIM_RELATIVE_ERROR,
            unit="of the largest output",
        )
    for form in ("ONNX", "TFLite"):
        ratios = [signal_to_noise_db(run["torch"], run[f"{form} int8"]) for run in runs]
        yield at_least(
            f"{form} int8 against torch on inputs that calibration did not see, lowest of {len(networks)} models",
            min(ratios),
            AIM_INT8_DB,
            unit="dB",
            spread=(min(ratios), max(ratios)),
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


def run_files(network: NetworkSpec, weights: Weights) -> dict[str, np.ndarray]:
    """The output of torch, of the fp32 files and of int8 files that were calibrated on other inputs."""
    import torch  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    inputs, *others = (torch.randn(network.input_shape, generator=generator) for _ in range(9))
    int8 = Int8Options(ranges=calibrate(network, weights, others), io="float")
    outputs = {"torch": run_torch(network, weights, inputs).numpy()}
    for dtype, suffix in (("fp32", ""), ("int8", " int8")):
        described = with_dtype(network, dtype)
        outputs[f"ONNX{suffix}"] = run_onnx(onnx_bytes(described, weights, int8=int8), inputs.numpy())
        outputs[f"TFLite{suffix}"] = run_tflite(tflite_bytes(described, weights, int8=int8), inputs.numpy())
    return outputs


def run_onnx(model: bytes, inputs: np.ndarray) -> np.ndarray:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": inputs})[0]


def run_tflite(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """NCHW in and out; the layout is turned on the way."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    turned = inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(turned))
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output


def signal_to_noise_db(expected: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(found - expected, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / max(noise, 1e-30)))


if __name__ == "__main__":
    run_benchmark("lowering", measure)
