"""One description, three forms: a network as a torch function, a TFLite file and an ONNX file.

Each form's library is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_model.lowering.calibration import calibrate
from latency_model.lowering.files import Int8Options, onnx_bytes, tflite_bytes, write_onnx, write_tflite
from latency_model.lowering.metadata import read_metadata
from latency_model.lowering.quantization import Ranges, nominal_ranges
from latency_model.lowering.weights import Weights, check_weights, network_weight_shapes, random_weights

if TYPE_CHECKING:
    from torch import Tensor

    from latency_model.network import NetworkSpec

__all__ = [
    "Int8Options",
    "Ranges",
    "Weights",
    "calibrate",
    "check_weights",
    "network_weight_shapes",
    "nominal_ranges",
    "onnx_bytes",
    "random_weights",
    "read_metadata",
    "run_torch",
    "tflite_bytes",
    "write_onnx",
    "write_tflite",
]


def run_torch(network: NetworkSpec, weights: Weights, inputs: Tensor, *more_inputs: Tensor) -> Tensor:
    """The network's output for NCHW ``inputs``, by torch: the reference that the files are compared with.

    An ``AddSpec`` layer takes one more input each, in the order of the layers.

    Raises:
        LoweringError: weights or inputs do not fit the network.
    """
    from latency_model.lowering.torch_emitter import run_torch as run  # noqa: PLC0415 - torch is slow to import

    return run(network, weights, (inputs, *more_inputs))
