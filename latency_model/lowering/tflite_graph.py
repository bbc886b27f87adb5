"""A TFLite model under construction: tensors, constants, operators; packed into a flatbuffer at the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from latency_model.ops import Shape

SCHEMA_VERSION = 3
_ALIGNMENT = 16  # the schema's force_align, which the generated Python does not honour

_TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
}


class TfliteGraph:
    """Values are tensor indices."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # buffer 0 is the empty one by convention
        self._operators: list[Any] = []
        self._operator_codes: dict[tuple[int, int], int] = {}
        self._constants: dict[Hashable, int] = {}
        self._data_bytes = 0

    def tensor(self, name: str, shape: Shape, dtype: str = "float32", quantization: Any = None) -> int:
        """An activation."""
        return self._add_tensor(name, shape, dtype, buffer=0, quantization=quantization)

    def constant(self, name: str, data: NDArray[Any], quantization: Any = None) -> int:
        """A tensor whose values stand in the file."""
        payload = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
        self._buffers.append(_AlignedBuffer(data=payload))
        self._data_bytes += payload.size + 2 * _ALIGNMENT
        return self._add_tensor(name, data.shape, data.dtype.name, len(self._buffers) - 1, quantization)

    def shared_constant(self, data: NDArray[Any], quantization: Any = None) -> int:
        """A small constant, such as axes or paddings, stored once for all its users."""
        params = None if quantization is None else (*quantization.scale, *quantization.zeroPoint)
        key = (data.dtype.name, data.shape, data.tobytes(), params)
        if key not in self._constants:
            self._constants[key] = self.constant(f"constant.{len(self._constants)}", data, quantization)
        return self._constants[key]

    def operator(self, operator: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> int:
        """Append an operator, such as "CONV_2D"; returns ``output``. The options' type follows its class."""
        code = getattr(schema.BuiltinOperator, operator)
        index = self._operator_codes.setdefault((code, version), len(self._operator_codes))
        record = schema.OperatorT(opcodeIndex=index, inputs=inputs, outputs=[output])
        if options is not None:
            record.builtinOptions = options
            record.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._operators.append(record)
        return output

    def shape(self, tensor: int) -> Shape:
        return tuple(self._tensors[tensor].shape)

    def name(self, tensor: int) -> str:
        return str(self._tensors[tensor].name)

    def pack(self, inputs: list[int], output: int, metadata: Mapping[str, str]) -> bytes:
        """The file's bytes. The output tensor is called "output"."""
        self._tensors[output].name = "output"
        model = schema.ModelT(
            version=SCHEMA_VERSION,
            description="proxyless",
            operatorCodes=[_operator_code(code, version) for code, version in self._operator_codes],
            metadata=[self._metadata(key, value) for key, value in metadata.items()] or None,
            subgraphs=[
                schema.SubGraphT(
                    name="main",
                    tensors=self._tensors,
                    inputs=inputs,
                    outputs=[output],
                    operators=self._operators,
                )
            ],
            buffers=self._buffers,
            signatureDefs=[
                schema.SignatureDefT(
                    signatureKey="serving_default",
                    inputs=[schema.TensorMapT(self.name(tensor), tensor) for tensor in inputs],
                    outputs=[schema.TensorMapT("output", output)],
                )
            ],
        )
        builder = flatbuffers.Builder(self._data_bytes + 16_384)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _add_tensor(self, name: str, shape: Shape, dtype: str, buffer: int, quantization: Any) -> int:
        self._tensors.append(
            schema.TensorT(
                name=name,
                shape=list(shape),
                type=_TENSOR_TYPES[dtype],
                buffer=buffer,
                quantization=quantization,
                hasRank=True,
            )
        )
        return len(self._tensors) - 1

    def _metadata(self, name: str, value: str) -> Any:
        self._buffers.append(_AlignedBuffer(data=np.frombuffer(value.encode(), dtype=np.uint8)))
        return schema.MetadataT(name=name, buffer=len(self._buffers) - 1)


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # untyped base
    """A buffer whose bytes start at a multiple of 16 in the file, as kernels that read in place expect."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        payload = self.data.tobytes()
        builder.StartVector(1, len(payload), _ALIGNMENT)
        builder.head -= len(payload)
        builder.Bytes[builder.head : builder.head + len(payload)] = payload
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _operator_code(code: int, version: int) -> Any:
    # Old readers look at the 8-bit field, new ones at the larger of the two.
    return schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
