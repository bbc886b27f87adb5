"""The shapes of the values in an ONNX model, as far as they can be told without running it."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import shape_inference

from latency_model.errors import LatencyModelError
from latency_model.ops import Shape


def with_shapes(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy in which every shape is written down that can be told. An open first dimension becomes ``batch``.

    Raises:
        LatencyModelError: another dimension of an input has no number, or the model contradicts itself.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    weights = {tensor.name for tensor in fixed.graph.initializer}
    is_open = False
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in weights or not dims:
            continue
        if dims[0].dim_value < 1:  # not given, or 0 or -1 as some exporters write it
            dims[0].dim_value = batch
            is_open = True
        if not all(dim.dim_value > 0 for dim in dims):
            raise LatencyModelError(
                f"Input {value.name!r} has the shape ({', '.join(_text(dim) for dim in dims)}): only the first "
                "dimension may be open. Export the model with a fixed image size."
            )
    if is_open:  # shapes further on that name the open batch are inferred anew
        del fixed.graph.value_info[:]
        for value in fixed.graph.output:
            value.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(fixed, data_prop=True)
    except shape_inference.InferenceError as error:
        raise LatencyModelError(
            f"The ONNX model contradicts itself: {str(error).strip()[:300]}. Export it again, and see what "
            "onnx.checker.check_model says of it."
        ) from error


def known_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes of its inputs, outputs and values; one with an open dimension is not known."""
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _text(dim: Any) -> str:
    return str(dim.dim_value) if dim.HasField("dim_value") else (dim.dim_param or "?")
