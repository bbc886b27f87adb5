"""Model files: networks with random weights in the format of a runtime, and the reference models timed beside them."""

from __future__ import annotations

from pathlib import Path

from latency_model.errors import MeasurementError
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import MBConvSpec
from profiler_agent.session import ModelFile


def _block(channels: int, side: int, kernel_size: int) -> NetworkSpec:
    return single_op_network(
        MBConvSpec(
            in_channels=channels,
            in_height=side,
            in_width=side,
            out_channels=channels,
            expand_channels=6 * channels,
            kernel_size=kernel_size,
            has_residual=True,
        )
    )


# Ran in every round of every batch, so that a device that slows down is noticed and can be corrected for.
CANARY = _block(channels=24, side=14, kernel_size=3)
# Run beside few networks: together they tell how slow the device is, which none does alone.
COMPANY = (_block(16, 14, 5), _block(32, 7, 3), _block(16, 28, 3), _block(40, 7, 5))


def write_references(runtime: str, folder: Path) -> tuple[ModelFile, tuple[ModelFile, ...]]:
    """The canary's file, and those of its company."""
    canary, *company = (
        ModelFile(model_id=name, path=write_model(network, runtime, folder / name))
        for name, network in (("canary", CANARY), *((f"company{index}", one) for index, one in enumerate(COMPANY)))
    )
    return canary, tuple(company)


def write_model(network: NetworkSpec, runtime: str, path_without_suffix: Path) -> Path:
    """Write a network with random weights in the format of a runtime.

    Raises:
        MeasurementError: a runtime that we cannot write models for.
    """
    from latency_model import lowering  # noqa: PLC0415 - slow to import

    weights = lowering.random_weights(network)
    int8 = lowering.Int8Options(ranges=lowering.nominal_ranges())  # used by int8 networks; enough to time them
    if runtime == "onnxruntime":
        path = path_without_suffix.with_suffix(".onnx")
        lowering.write_onnx(network, weights, path, int8=int8)
    elif runtime == "litert":
        path = path_without_suffix.with_suffix(".tflite")
        lowering.write_tflite(network, weights, path, int8=int8)
    elif runtime == "torch":
        from latency_model.lowering.torchscript import write_torchscript  # noqa: PLC0415 - torch is slow to import

        path = path_without_suffix.with_suffix(".pt")
        write_torchscript(network, weights, path)
    else:
        raise MeasurementError(f"No model writer for runtime {runtime!r}; use onnxruntime, litert or torch.")
    return path
