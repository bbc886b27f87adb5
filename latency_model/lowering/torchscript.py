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
    """Write the network, weights inside, with the signature of its inputs (NCHW) as the agent reads it: of the images,
    and of the second operand of each add that has but one source.

    Raises:
        LoweringError: the network cannot be written, has other numbers than fp32, or the weights do not fit it.
    """
    if check_lowerable(network) != "fp32":
        raise LoweringError(f"Network {network.name!r} is {network.ops[0].dtype}; TorchScript files are fp32 only.")
    ops = dict(network.layers)
    alone = [ops[step.name] for step in network.steps if ops[step.name].kind == "add" and len(step.sources) == 1]
    shapes = [network.input_shape, *(op.input_shape for op in alone)]
    check_weights(network, weights)

    def run(*inputs: Tensor) -> Tensor:
        return emit_network(TorchEmitter(weights, inputs, None), network)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of itself, and of the shapes that the emitter checks
        traced = torch.jit.trace(run, tuple(map(torch.zeros, shapes)))  # type: ignore[no-untyped-call]
        signature = json.dumps([{"shape": list(shape), "dtype": "float32"} for shape in shapes])
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        torch.jit.save(traced, str(beside), _extra_files={SIGNATURE: signature})
    beside.replace(path)
