"""The tables of which a TFLite file has many, written in one piece each.

The generated classes write a table field by field, which took three quarters of the time of making a file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from latency_model.ops import Shape

_DATA_ALIGNMENT = 16  # the schema's force_align: kernels that read weights in place expect it
_REFERENCE = "R"  # a field that points to a vector, a text or another table
_FORMATS = {_REFERENCE: "I", "uint32": "I", "int32": "i", "uint8": "B"}
_WORD_BYTES = 4
_VTABLE_ALIGNMENT = 2


class Layout:
    """Where the fields of one kind of table lie: four-byte fields first, single bytes after them.

    Args:
        fields: the schema's number of each field and its type.
    """

    def __init__(self, *fields: tuple[int, str]) -> None:
        formats = [_FORMATS[kind] for _, kind in fields]
        assert formats == sorted(formats, key=lambda each: each == "B"), "single bytes come last"
        self._struct = struct.Struct("<i" + "".join(formats))
        self.size = -(-self._struct.size // _WORD_BYTES) * _WORD_BYTES
        places = [struct.calcsize("<i" + "".join(formats[:index])) for index in range(len(formats))]
        self._references = [(index, places[index]) for index, (_, kind) in enumerate(fields) if kind == _REFERENCE]
        offsets = [0] * (1 + max(number for number, _ in fields))
        for (number, _), place in zip(fields, places, strict=True):
            offsets[number] = place
        self.vtable = struct.pack(f"<{2 + len(offsets)}H", 2 * (2 + len(offsets)), self.size, *offsets)

    def packed(self, position: int, vtable_position: int, values: Sequence[int]) -> bytes:
        """The table's bytes; positions are counted from the end of the file, as flatbuffers are written backwards."""
        fields = list(values)
        for index, place in self._references:
            fields[index] = position - place - fields[index]
        return self._struct.pack(vtable_position - position, *fields).ljust(self.size, b"\0")


class TableBuilder(flatbuffers.Builder):  # type: ignore[misc]  # untyped base
    """A builder that also writes whole vectors and tables; all return the position of what they wrote."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.head: int
        self._vtables: dict[Layout, int] = {}

    def vector(self, payload: bytes, count: int, alignment: int = _WORD_BYTES) -> int:
        self.Prep(alignment, len(payload))
        return self._written(struct.pack("<I", count) + payload)

    def text(self, text: str) -> int:
        encoded = text.encode()
        return self.vector(encoded + b"\0", len(encoded))

    def integers(self, values: Sequence[int]) -> int:
        return self.vector(struct.pack(f"<{len(values)}i", *values), len(values))

    def references(self, positions: Sequence[int]) -> int:
        """A vector of pointers to what was written before."""
        count = len(positions)
        self.Prep(_WORD_BYTES, _WORD_BYTES * count)
        end = self.Offset()
        steps = (end + _WORD_BYTES * (count - index) - position for index, position in enumerate(positions))
        return self._written(struct.pack(f"<{1 + count}I", count, *steps))

    def table(self, layout: Layout, *values: int) -> int:
        vtable = self._vtables.get(layout)
        if vtable is None:
            self.Prep(_VTABLE_ALIGNMENT, len(layout.vtable))
            vtable = self._vtables[layout] = self._written(layout.vtable)
        self.Prep(_WORD_BYTES, layout.size)
        return self._written(layout.packed(self.Offset() + layout.size, vtable, values))

    def _written(self, content: bytes) -> int:
        """Put bytes before all that is there; ``Prep`` has made room for them, and a word more."""
        head: int = self.head - len(content)
        self.Bytes[head : self.head] = content
        self.head = head
        return len(self.Bytes) - head


_QUANTIZATION = Layout((2, _REFERENCE), (3, _REFERENCE), (6, "int32"))
_TENSOR = Layout((0, _REFERENCE), (2, "uint32"), (3, _REFERENCE), (1, "uint8"), (8, "uint8"))
_QUANTIZED_TENSOR = Layout((0, _REFERENCE), (2, "uint32"), (3, _REFERENCE), (4, _REFERENCE), (1, "uint8"), (8, "uint8"))
_OPERATOR = Layout((0, "uint32"), (1, _REFERENCE), (2, _REFERENCE))
_OPERATOR_WITH_OPTIONS = Layout((0, "uint32"), (1, _REFERENCE), (2, _REFERENCE), (4, _REFERENCE), (3, "uint8"))
_BUFFER = Layout((0, _REFERENCE))
_OPERATOR_CODE = Layout((2, "int32"), (3, "int32"), (0, "uint8"))
_SUBGRAPH = Layout((0, _REFERENCE), (1, _REFERENCE), (2, _REFERENCE), (3, _REFERENCE), (4, _REFERENCE))
_HIGHEST_OLD_CODE = 127


@dataclass(frozen=True)
class Quantization:
    """One scale and zero point, or one for each index of ``axis``."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int = 0

    def Pack(self, builder: TableBuilder) -> int:
        scales = builder.vector(self.scales.tobytes(), self.scales.size)
        zero_points = builder.vector(self.zero_points.tobytes(), self.zero_points.size, alignment=8)
        return builder.table(_QUANTIZATION, scales, zero_points, self.axis)


@dataclass
class Tensor:
    """``type`` is the schema's number; buffer 0 is the empty one."""

    name: str
    shape: Shape
    type: int
    buffer: int
    quantization: Quantization | None

    def Pack(self, builder: TableBuilder) -> int:
        shape, name = builder.integers(self.shape), builder.text(self.name)
        has_rank = 1
        if self.quantization is None:
            return builder.table(_TENSOR, shape, self.buffer, name, self.type, has_rank)
        quantization = self.quantization.Pack(builder)
        return builder.table(_QUANTIZED_TENSOR, shape, self.buffer, name, quantization, self.type, has_rank)


@dataclass(frozen=True)
class Operator:
    """``code`` is an index into the model's operator codes, ``options`` an object of the schema's own classes."""

    code: int
    inputs: Sequence[int]
    outputs: Sequence[int]
    options_type: int
    options: Any

    def Pack(self, builder: TableBuilder) -> int:
        inputs, outputs = builder.integers(self.inputs), builder.integers(self.outputs)
        if self.options is None:
            return builder.table(_OPERATOR, self.code, inputs, outputs)
        options = self.options.Pack(builder)
        return builder.table(_OPERATOR_WITH_OPTIONS, self.code, inputs, outputs, options, self.options_type)


@dataclass(frozen=True)
class Buffer:
    """Bytes in the file, which start at a multiple of 16."""

    payload: bytes

    def Pack(self, builder: TableBuilder) -> int:
        return builder.table(_BUFFER, builder.vector(self.payload, len(self.payload), alignment=_DATA_ALIGNMENT))


@dataclass(frozen=True)
class OperatorCode:
    """An operator's number in the schema, in the field of 32 bits and in the old one of 8: old readers look at that,
    new ones at the larger of the two."""

    code: int
    version: int

    def Pack(self, builder: TableBuilder) -> int:
        return builder.table(_OPERATOR_CODE, self.version, self.code, min(self.code, _HIGHEST_OLD_CODE))


@dataclass(frozen=True)
class Subgraph:
    """The tensors and operators of a model, and which tensors go in and come out."""

    name: str
    tensors: Sequence[Tensor]
    inputs: Sequence[int]
    outputs: Sequence[int]
    operators: Sequence[Operator]

    def Pack(self, builder: TableBuilder) -> int:
        tensors = builder.references([tensor.Pack(builder) for tensor in self.tensors])
        operators = builder.references([operator.Pack(builder) for operator in self.operators])
        inputs, outputs = builder.integers(self.inputs), builder.integers(self.outputs)
        return builder.table(_SUBGRAPH, tensors, inputs, outputs, operators, builder.text(self.name))
