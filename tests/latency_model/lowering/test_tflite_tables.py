"""Tables that are written in one piece read back as those of the schema's own classes."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from latency_model.lowering import Int8Options, nominal_ranges, random_weights, tflite_bytes
from latency_model.lowering.tflite_tables import Layout
from latency_model.network import single_op_network, with_dtype
from latency_model.ops import MBConvSpec

BLOCK = MBConvSpec(
    in_channels=3, in_height=9, in_width=7, out_channels=5, expand_channels=7, kernel_size=3, squeeze_channels=2
)


def as_plain(value):
    """Nested dicts and lists, to compare by."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [as_plain(each) for each in value]
    return {key: as_plain(each) for key, each in vars(value).items()} if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_what_the_schemas_own_classes_make_of_a_file_packs_to_an_equal_file(dtype):
    import flatbuffers

    network = with_dtype(single_op_network(BLOCK), dtype)
    metadata = {"labels": "dög"}
    int8 = Int8Options(ranges=nominal_ranges())
    content = tflite_bytes(network, random_weights(network), int8=int8, metadata=metadata)
    read = schema.ModelT.InitFromPackedBuf(content)
    builder = flatbuffers.Builder(1024)
    builder.Finish(read.Pack(builder), file_identifier=b"TFL3")
    assert as_plain(schema.ModelT.InitFromPackedBuf(bytes(builder.Output()))) == as_plain(read)
    assert read.subgraphs[0].tensors[0].name == b"input"
    assert all(tensor.hasRank for tensor in read.subgraphs[0].tensors)


def test_weights_start_at_multiples_of_16_bytes():
    network = single_op_network(BLOCK)
    content = tflite_bytes(network, random_weights(network))
    model = schema.Model.GetRootAs(content)
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in (model.Buffers(index) for index in range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert len(starts) > 10
    assert {start % 16 for start in starts} == {0}


def test_a_layout_with_a_byte_before_a_word_is_refused():
    with pytest.raises(AssertionError, match="last"):
        Layout((0, "uint8"), (1, "uint32"))
