"""The specialisation matrix says, for each device, whether its own network is the fastest there."""

from __future__ import annotations

import dataclasses

import pytest

from search.errors import RunFolderError
from search.report.heat_map import heat_map
from search.ship.compare import Matrix, parse_column
from tests.search.quick_device import QUICK_DEVICE

MATRIX = Matrix(
    runs=("for_a", "for_b"),
    columns=("a", "b", "c"),
    own=("a", "b"),
    accuracy=(0.90, 0.92),
    latency_ms=((1.0, 3.0, 5.0), (1.2, 4.0, 4.0)),
    spread=((0.01, 0.01, 0.01), (0.01, 0.01, 0.01)),
    verdict=(("accepted",) * 3, ("noisy",) * 3),
)


def test_a_device_whose_own_network_is_fastest_is_told_by_how_much():
    finding = MATRIX.findings()[0]
    assert finding.startswith("a: its own network (for_a, 1 ms) is the fastest: for_b (1.2 ms) takes 20.0% longer.")
    assert "-2.0 points of accuracy" in finding and "every device" not in finding


def test_a_device_whose_own_network_loses_is_told_where_and_what_it_gained():
    finding = MATRIX.findings()[1]
    assert "b: its own network (for_b, 4 ms) is not the fastest: it takes 33.3% longer than for_a (3 ms)" in finding
    assert "+2.0 points of accuracy" in finding


def test_a_lead_within_the_spread_of_the_sessions_is_no_lead():
    noisy = dataclasses.replace(MATRIX, spread=((0.25, 0.4, 0.1), (0.1, 0.1, 0.1)))
    assert all("cannot be told from" in finding for finding in noisy.findings())


def test_a_network_that_is_fastest_everywhere_is_called_smaller_and_not_specialised():
    small = dataclasses.replace(MATRIX, latency_ms=((1.0, 3.0, 4.0), (1.2, 4.0, 5.0)))
    assert "smaller rather than made for this one" in small.findings()[0]


def test_a_device_that_no_run_searched_for_has_no_finding():
    assert len(MATRIX.findings()) == 2


def test_the_heat_map_is_darkest_at_the_fastest_of_each_column():
    shown = heat_map(MATRIX.to_json())
    first, second = shown.rows
    assert [cell.share for cell in first.cells][:2] == [1.0, 1.0]
    assert first.cells[2].share == pytest.approx(1 - 0.25 / 0.6) and first.cells[2].slower == "+25\u00a0%"
    assert [cell.is_own for cell in first.cells] == [True, False, False]
    assert second.cells[2].slower == "fastest"


@pytest.mark.parametrize("numbers, dtype", [("", "fp32"), ("@int8", "int8"), ("@fp16", "fp16")])
def test_a_device_may_be_asked_for_in_smaller_numbers(tmp_path, numbers, dtype):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    column = parse_column(f"{tmp_path / 'device.yaml'}{numbers}")
    assert column.dtype == dtype and column.label == ("quick_cpu" if dtype == "fp32" else f"quick_cpu {dtype}")


def test_unknown_numbers_are_refused(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    with pytest.raises(RunFolderError, match="'int4'"):
        parse_column(f"{tmp_path / 'device.yaml'}@int4")


def test_torch_has_no_eight_bit_files(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE.replace("onnxruntime", "torch"))
    with pytest.raises(RunFolderError, match="onnxruntime or litert"):
        parse_column(f"{tmp_path / 'device.yaml'}@int8")
