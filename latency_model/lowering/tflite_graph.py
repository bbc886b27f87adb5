"""A TFLite model under construction: tensors, constants, operators; packed into a flatbuffer at the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from latency_model.lowering.tflite_tables import (
    Buffer,
    Operator,
    OperatorCode,
    Quantization,
    Subgraph,
    TableBuilder,
    Tensor,
)
from latency_model.ops import Shape

SCHEMA_VERSION = 3
_BYTES_BESIDE_DATA = 16_384

_TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
}


class TfliteGraph:
    """Values are tensor indices."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._buffers: list[Any] = [schema.BufferT()]  # buffer 0 is the empty one by convention
        self._operators: list[Operator] = []
        self._operator_codes: dict[tuple[int, int], int] = {}
        self._constants: dict[Hashable, int] = {}
        self._data_bytes = 0

    def tensor(self, name: str, shape: Shape, dtype: str = "float32", quantization: Quantization | None = None) -> int:
        """An activation."""
        return self._add_tensor(name, shape, dtype, buffer=0, quantization=quantization)

    def constant(self, name: str, data: NDArray[Any], quantization: Quantization | None = None) -> int:
        """A tensor whose values stand in the file."""
        payload = data.tobytes()
        self._buffers.append(Buffer(payload))
        self._data_bytes += len(payload)
        return self._add_tensor(name, data.shape, data.dtype.name, len(self._buffers) - 1, quantization)

    def shared_constant(self, data: NDArray[Any], quantization: Quantization | None = None) -> int:
        """A small constant, such as axes or paddings, stored once for all its users."""
        params = None if quantization is None else (*quantization.scales, *quantization.zero_points)
        key = (data.dtype.name, data.shape, data.tobytes(), params)
        if key not in self._constants:
            self._constants[key] = self.constant(f"constant.{len(self._constants)}", data, quantization)
        return self._constants[key]

    def operator(self, operator: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> int:
        """Append an operator, such as "CONV_2D"; returns ``output``. The options' type follows its class."""
        code = getattr(schema.BuiltinOperator, operator)
        index = self._operator_codes.setdefault((code, version), len(self._operator_codes))
        kind = "NONE" if options is None else type(options).__name__.removesuffix("T")
        self._operators.append(Operator(index, inputs, [output], getattr(schema.BuiltinOptions, kind), options))
        return output

    def shape(self, tensor: int) -> Shape:
        return self._tensors[tensor].shape

    def name(self, tensor: int) -> str:
        return self._tensors[tensor].name

    def pack(self, inputs: list[int], output: int, metadata: Mapping[str, str]) -> bytes:
        """The file's bytes. The output tensor is called "output"."""
        self._tensors[output].name = "output"
        model = schema.ModelT(
            version=SCHEMA_VERSION,
            description="proxyless",
            operatorCodes=[OperatorCode(code, version) for code, version in self._operator_codes],
            metadata=[self._metadata(key, value) for key, value in metadata.items()] or None,
            subgraphs=[Subgraph("main", self._tensors, inputs, [output], self._operators)],
            buffers=self._buffers,
            signatureDefs=[
                schema.SignatureDefT(
                    signatureKey="serving_default",
                    inputs=[schema.TensorMapT(self.name(tensor), tensor) for tensor in inputs],
                    outputs=[schema.TensorMapT("output", output)],
                )
            ],
        )
        builder = TableBuilder(self._data_bytes + _BYTES_BESIDE_DATA)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _add_tensor(self, name: str, shape: Shape, dtype: str, buffer: int, quantization: Quantization | None) -> int:
        self._tensors.append(Tensor(name, tuple(shape), _TENSOR_TYPES[dtype], buffer, quantization))
        return len(self._tensors) - 1

    def _metadata(self, name: str, value: str) -> Any:
        self._buffers.append(Buffer(value.encode()))
        return schema.MetadataT(name=name, buffer=len(self._buffers) - 1)
