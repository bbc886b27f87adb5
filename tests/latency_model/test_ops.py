"""Op specs: read back from JSON as they were written, told apart by their keys, and no op that no network holds."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest

from latency_model.op_json import op_from_json, op_to_json
from latency_model.ops import (
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    OpSpecError,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)

MAP = {"in_channels": 16, "in_height": 9, "in_width": 7}
BLOCK = {**MAP, "out_channels": 16, "expand_channels": 48, "kernel_size": 3}
OPS = [
    ConvSpec(**MAP, out_channels=24, kernel_size=3, stride=2, groups=8, dilation=2, activation="relu", batch=2),
    DepthwiseConvSpec(**MAP, kernel_size=5, dtype="fp16"),
    LinearSpec(in_features=40, out_features=10, dtype="int8"),
    PoolSpec(**MAP, pool="max", kernel_size=3, stride=2),
    AddSpec(**MAP, activation="relu6"),
    ActivationSpec(**MAP, activation="swish"),
    SqueezeExciteSpec(**MAP, squeeze_channels=4, gate="sigmoid"),
    MBConvSpec(**BLOCK, squeeze_channels=8, has_residual=True, activation="hswish"),
    FusedMBConvSpec(**BLOCK),
    IdentitySpec(**MAP),
    ZeroSpec(**MAP),
    SeparableConvSpec(**MAP, out_channels=24, kernel_size=3),
    PadChannelsSpec(**MAP, out_channels=40),
]


def test_the_list_holds_every_kind_of_op():
    assert [type(op) for op in OPS] == list(get_args(OpSpec))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.kind)
def test_an_op_is_read_back_from_json_as_it_was_written(op):
    assert op_from_json(json.loads(json.dumps(op_to_json(op)))) == op


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.kind)
def test_ops_that_differ_in_any_field_have_different_keys(op):
    others = [dataclasses.replace(op, batch=op.batch + 1), dataclasses.replace(op, dtype="int8")]
    keys = {other.key for other in [*OPS, *others]}
    assert len(keys) == len({*OPS, *others})


@pytest.mark.parametrize("kind", [ConvSpec, MBConvSpec, FusedMBConvSpec, SeparableConvSpec])
@pytest.mark.parametrize(("stride", "height", "width"), [(1, 9, 7), (2, 5, 4), (3, 3, 3)])
def test_a_strided_op_gives_the_rounded_up_part_of_its_sides_and_its_own_width(kind, stride, height, width):
    wide = {"expand_channels": 32} if kind in {MBConvSpec, FusedMBConvSpec} else {}
    op = kind(**MAP, out_channels=24, kernel_size=3, stride=stride, batch=2, **wide)
    assert op.output_shape == (2, 24, height, width)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"in_channels": 0}, "in_channels=0; it must be a whole number, 1 or more"),
        ({"in_channels": 8.5}, "in_channels=8.5; it must be a whole number"),
        ({"in_channels": "16"}, "in_channels='16'; it must be a whole number"),
        ({"stride": None}, "stride=None; it must be a whole number"),
        ({"squeeze_channels": 0}, "squeeze_channels=0; it must be a whole number"),
        ({"has_residual": "no"}, "has_residual='no'; use one of False, True"),
        ({"activation": "gelu"}, "activation='gelu'; use one of none, relu"),
        ({"dtype": "bf16"}, "dtype='bf16'; use one of fp32, fp16, int8"),
        ({"kernel_size": 4}, "kernel_size=4; symmetric padding needs an odd one"),
        ({"has_residual": True, "stride": 2}, "a residual needs stride 1 and equal widths"),
        ({"has_residual": True, "out_channels": 24}, "a residual needs stride 1 and equal widths, .* 16 -> 24"),
        ({"depth": 3}, "unknown field 'depth'; it has activation"),
        ({"op": "transformer"}, "Unknown op 'transformer'; this version knows activation"),
    ],
)
def test_a_block_that_no_network_could_hold_is_refused_with_the_field(fields, why):
    with pytest.raises(OpSpecError, match=why):
        op_from_json(op_to_json(MBConvSpec(**BLOCK)) | fields)


def test_a_field_that_is_missing_is_named():
    data = op_to_json(MBConvSpec(**BLOCK))
    del data["expand_channels"]
    with pytest.raises(OpSpecError, match="expand_channels"):
        op_from_json(data)


def test_groups_that_do_not_divide_the_widths_narrower_padding_and_an_activation_of_nothing_are_refused():
    with pytest.raises(OpSpecError, match="groups=3"):
        ConvSpec(**MAP, out_channels=24, kernel_size=3, groups=3)
    with pytest.raises(OpSpecError, match="cannot be padded to 8"):
        PadChannelsSpec(**MAP, out_channels=8)
    with pytest.raises(OpSpecError, match="use an IdentitySpec"):
        ActivationSpec(**MAP, activation="none")
