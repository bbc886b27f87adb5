"""Kernel configurations, as the published table writes them and as JSON."""

from __future__ import annotations

import pytest

from benchmarks.phone_kernels import numbers_of, op_of
from latency_model.ops import ConvSpec


def test_whole_floats_and_digits_in_quotes_are_the_same_numbers():
    assert numbers_of("{'Kernel': 3.0, 'Stride': '1', 'Filter': '-'}") == {"Kernel": 3, "Stride": 1}


def test_json_with_null_and_true_is_read():
    feature = '{"Kernel": 3, "Stride": "2", "Group": null, "fused": true, "load": 0.5}'
    assert numbers_of(feature) == {"Kernel": 3, "Stride": 2}


def test_groups_written_as_a_float_are_no_convolution_without_groups():
    shape = "'Input_channel': 8, 'Output_shape': 14, 'Stride': 1, 'Kernel': 3, 'Filter': 16"
    op = op_of("CONV_2D", numbers_of(f"{{{shape}, 'Group': 2.0}}"))
    assert isinstance(op, ConvSpec)
    assert op.groups == 2


@pytest.mark.parametrize("group", ["2.5", "True", "1e999"])
def test_a_field_of_the_shape_that_is_no_whole_number_is_an_error_and_no_default(group: str):
    with pytest.raises(ValueError, match="Group"):
        numbers_of(f"{{'Kernel': 3, 'Group': {group}}}")
