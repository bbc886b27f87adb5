"""A network as a TorchScript file: what the torch runtime of the agent executes, operator by operator."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

from latency_model.errors import LoweringError
from latency_model.lowering.emit import check_lowerable, emit_network
from latency_model.lowering.torch_emitter import TorchEmitter
from latency_model.lowering.weights import Weights, check_weights
from latency_model.network import NetworkSpec

SIGNATURE = "signature.json"


def write_torchscript(network: NetworkSpec, weights: Weights, path: Path) -> None:
    """Write the network, weights inside, with the signature of its one input (NCHW) as the agent reads it.

    Raises:
        LoweringError: the network cannot be written, has several inputs or other numbers than fp32, or the weights do
            not fit it.
    """
    if check_lowerable(network) != "fp32":
        raise LoweringError(f"Network {network.name!r} is {network.ops[0].dtype}; TorchScript files are fp32 only.")
    ops = dict(network.layers)
    if alone := [step.name for step in network.steps if ops[step.name].kind == "add" and len(step.sources) == 1]:
        raise LoweringError(
            f"Network {network.name!r}: the add {alone[0]!r} has an input of its own, which a TorchScript file of ours "
            "does not take. Name both of its operands in the network's wiring, or write ONNX or TFLite."
        )
    check_weights(network, weights)

    def run(x: Tensor) -> Tensor:
        return emit_network(TorchEmitter(weights, [x], None), network)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of itself, and of the shapes that the emitter checks
        traced = torch.jit.trace(run, torch.zeros(network.input_shape))  # type: ignore[no-untyped-call]
        signature = json.dumps([{"shape": list(network.input_shape), "dtype": "float32"}])
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        torch.jit.save(traced, str(beside), _extra_files={SIGNATURE: signature})
    beside.replace(path)
