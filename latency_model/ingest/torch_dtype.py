"""The number format of an exported torch module, as our specs name it."""

from __future__ import annotations

from typing import Any

import torch

from latency_model.errors import LatencyModelError
from latency_model.ops import Dtype

_DTYPES: dict[torch.dtype, Dtype] = {torch.float32: "fp32", torch.float16: "fp16"}


def dtype_of_program(program: torch.export.ExportedProgram) -> Dtype:
    """That of its parameters, of a module without any that of its inputs; fp16 where any are in half.

    Raises:
        LatencyModelError: a format that our specs do not have.
    """
    inputs = set(program.graph_signature.user_inputs)
    fed = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    found = _floats(list(program.parameters())) or _floats(fed)
    for dtype in found:
        if dtype not in _DTYPES:
            raise LatencyModelError(
                f"The module computes in {dtype}; op specs have fp32, fp16 and int8, and another format takes another "
                "time. Call float() or half() on the module and on its example inputs."
            )
    return "fp16" if torch.float16 in found else "fp32"


def _floats(values: list[Any]) -> list[torch.dtype]:
    tensors = (value for value in values if isinstance(value, torch.Tensor))
    return list(dict.fromkeys(tensor.dtype for tensor in tensors if tensor.is_floating_point()))
