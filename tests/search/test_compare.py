"""The specialisation matrix says, for each device, whether its own network is the fastest there."""

from __future__ import annotations

import dataclasses

import pytest

from search.errors import RunFolderError
from search.report.heat_map import heat_map
from search.ship.compare import distinct_columns, parse_column
from search.ship.matrix import Matrix
from tests.search.quick_device import QUICK_DEVICE

MATRIX = Matrix(
    runs=("for_a", "for_b"),
    columns=("a", "b", "c"),
    details=("onnxruntime", "litert", "torch"),
    own=("a", "b"),
    accuracy=(0.90, 0.92),
    data=("digits", "digits"),
    latency_ms=((1.0, 3.0, 5.0), (1.2, 4.0, 4.0)),
    spread=((0.01, 0.01, 0.01), (0.01, 0.01, 0.01)),
    verdict=(("accepted",) * 3, ("accepted",) * 3),
    budget_ms=((None,) * 3, (None,) * 3),
)


def standings(matrix):
    return [str(outcome) for outcome in matrix.outcomes()]


def test_a_device_whose_own_network_is_fastest_is_told_by_how_much():
    finding = MATRIX.findings()[0]
    assert finding.startswith(
        "a (wins): its own network (for_a, 1 ms) is the fastest: for_b (1.2 ms) takes 20.0% longer."
    )
    assert "-2.0 points of accuracy" in finding and "every device" not in finding


def test_a_device_whose_own_network_loses_is_told_where_and_what_it_gained():
    finding = MATRIX.findings()[1]
    assert (
        "b (loses to for_a): its own network (for_b, 4 ms) is not the fastest: it takes 33.3% longer than for_a (3 ms)"
        in finding
    )
    assert "+2.0 points of accuracy" in finding


def test_a_lead_within_the_spread_of_the_sessions_is_no_lead():
    noisy = dataclasses.replace(MATRIX, spread=((0.25, 0.4, 0.1), (0.1, 0.1, 0.1)))
    assert all("cannot be told from" in finding for finding in noisy.findings())


def test_a_lead_after_a_single_session_is_no_lead():
    single = dataclasses.replace(MATRIX, spread=((0.01, 0.01, 0.01), (None, 0.01, 0.01)))
    first, second = single.findings()
    assert "cannot be told from for_b (1.2 ms): it was timed in one session, so how much sessions differ is" in first
    assert "is not the fastest" in second


def test_each_devices_own_network_has_a_standing_in_the_numbers():
    outcomes = MATRIX.to_json()["outcomes"]
    assert [(one["column"], one["run"], one["standing"], one["against"], one["text"]) for one in outcomes] == [
        ("a", "for_a", "wins", "for_b", "wins"),
        ("b", "for_b", "loses", "for_a", "loses to for_a"),
    ]


def test_a_standing_that_noise_explains_or_one_session_gave_is_neither_won_nor_lost():
    doubtful = dataclasses.replace(MATRIX, spread=((None, 0.4, 0.01), (0.01, 0.1, 0.01)))
    assert standings(doubtful) == ["cannot be told", "within noise"]


def test_an_own_network_over_its_budget_is_said_to_be_so_however_fast_it_is():
    over = dataclasses.replace(MATRIX, budget_ms=((0.5, None, None), (None, 3.95, None)))
    assert standings(over) == ["over its budget", "loses to for_a"]
    first, second = over.findings()
    assert first.startswith("a (over its budget): ") and "for_a is 100.0% over its budget of 0.5 ms." in first
    assert "for_b is 1.3% over its budget of 3.95 ms, within the 3% that are tolerated." in second
    assert heat_map(over.to_json()).findings == (first, second)
    assert over.to_json()["budget_ms"] == ((0.5, None, None), (None, 3.95, None)) and over.to_json()["schema"] == 4


def test_a_budget_missed_by_what_noise_may_explain_says_so():
    over = dataclasses.replace(MATRIX, budget_ms=((0.95, None, None), (None, None, None)))
    assert "for_a is 5.3% over its budget of 0.95 ms, which noise may explain." in over.findings()[0]


def over_texts(matrix):
    return [[cell.over_budget.replace("\u00a0", " ") for cell in row.cells] for row in heat_map(matrix.to_json()).rows]


def test_the_heat_map_marks_what_is_over_the_budget_of_the_device_also_of_networks_made_for_others():
    assert not heat_map(MATRIX.to_json()).has_any_over_budget
    over = dataclasses.replace(MATRIX, budget_ms=((1.1, None, None), (None, 2.0, None)))
    assert over_texts(over) == [["", "50 % over budget", ""], ["9 % over budget, maybe noise", "100 % over budget", ""]]
    shown = heat_map(over.to_json())
    assert shown.has_any_over_budget
    assert [budget.replace("\u00a0", " ") for _, _, budget in shown.columns] == ["budget 1.10 ms", "budget 2.00 ms", ""]


def test_within_the_tolerance_nothing_is_marked_as_over_the_budget():
    within = dataclasses.replace(MATRIX, budget_ms=((0.98, None, None), (None, 3.9, None)))
    assert over_texts(within)[0] == ["", "", ""] and over_texts(within)[1][1:] == ["", ""]


def test_where_a_device_has_two_budgets_each_network_is_held_against_its_own_alone():
    both = dataclasses.replace(MATRIX, own=("a", "a"), budget_ms=((0.5, None, None), (1.2, None, None)))
    assert over_texts(both) == [["100 % over budget", "", ""], ["", "", ""]]
    assert [budget for _, _, budget in heat_map(both.to_json()).columns] == ["", "", ""]


def test_accuracies_of_different_data_are_not_subtracted_from_each_other():
    mixed = dataclasses.replace(MATRIX, data=("digits", "photos"))
    for finding in mixed.findings():
        assert "points of accuracy" not in finding and "Accuracies do not compare: its is of " in finding
    assert "its is of digits, that one's of photos." in mixed.findings()[0]
    assert [row.data for row in heat_map(mixed.to_json()).rows] == ["digits", "photos"]
    assert [row.data for row in heat_map(MATRIX.to_json()).rows] == ["", ""]


def test_of_two_own_networks_of_a_device_the_slower_one_over_its_budget_is_named_too():
    both = dataclasses.replace(MATRIX, own=("a", "a"), budget_ms=((1.1, None, None), (0.8, None, None)))
    (finding,) = both.findings()
    assert "for_a is 9.1% under its budget of 1.1 ms." in finding
    assert "for_b is 50.0% over its budget of 0.8 ms." in finding


def test_a_noisy_timing_is_named_beside_what_is_said_of_it():
    noisy = dataclasses.replace(MATRIX, verdict=(("accepted",) * 3, ("noisy", "accepted", "accepted")))
    first, second = noisy.findings()
    assert "The timing of for_b was noisy: measure again before relying on it." in first and "noisy" not in second


def test_a_network_that_is_fastest_everywhere_is_called_smaller_and_not_specialised():
    small = dataclasses.replace(MATRIX, latency_ms=((1.0, 3.0, 4.0), (1.2, 4.0, 5.0)))
    assert "smaller rather than made for this one" in small.findings()[0]


def test_a_device_that_no_run_searched_for_has_no_finding():
    assert len(MATRIX.findings()) == 2


def notes(matrix):
    return [[cell.note.replace("\u00a0", " ") for cell in row.cells] for row in heat_map(matrix.to_json()).rows]


def test_the_heat_map_is_darkest_at_the_lowest_of_each_column():
    shown = heat_map(MATRIX.to_json())
    first = shown.rows[0]
    assert [cell.share for cell in first.cells][:2] == [1.0, 1.0]
    assert first.cells[2].share == pytest.approx(1 - 0.25 / 0.6)
    assert [cell.is_own for cell in first.cells] == [True, False, False]
    assert shown.columns[2] == ("c", "torch", "")
    assert notes(MATRIX) == [["fastest", "fastest", "+25 %"], ["+20 %", "+33 %", "fastest"]]


def test_the_heat_map_calls_nothing_fastest_that_noise_or_a_single_session_may_have_put_there():
    doubtful = dataclasses.replace(
        MATRIX,
        spread=((0.3, None, 0.01), (0.01, None, 0.01)),
        verdict=(("noisy", "accepted", "accepted"), ("accepted",) * 3),
    )
    assert notes(doubtful) == [
        ["lowest, noisy", "lowest", "+25 %"],
        ["+20 %, within noise", "+33 %, noise unknown", "fastest"],
    ]


@pytest.mark.parametrize("numbers, dtype", [("", "fp32"), ("@int8", "int8"), ("@fp16", "fp16")])
def test_a_device_may_be_asked_for_in_smaller_numbers(tmp_path, numbers, dtype):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    column = parse_column(f"{tmp_path / 'device.yaml'}{numbers}")
    assert column.dtype == dtype and column.label == ("quick_cpu" if dtype == "fp32" else f"quick_cpu {dtype}")


def columns(folder, *texts):
    """A device file for each text, in folders of their own."""
    found = []
    for index, text in enumerate(texts):
        path = folder / str(index) / "device.yaml"
        path.parent.mkdir()
        path.write_text(text)
        found.append(parse_column(str(path)))
    return found


def test_device_files_of_the_same_content_are_one_device_wherever_they_lie(tmp_path):
    found = columns(tmp_path, QUICK_DEVICE, QUICK_DEVICE + "# another place\n")
    small = parse_column(f"{tmp_path / '0' / 'device.yaml'}@int8")
    assert list(distinct_columns([*found, small])) == ["quick_cpu", "quick_cpu int8"]


@pytest.mark.parametrize(
    ("old", "new", "named"), [("onnxruntime", "litert", "runtime"), ("round_count: 5", "round_count: 6", "plan")]
)
def test_different_devices_of_one_name_are_refused_and_not_put_into_one_column(tmp_path, old, new, named):
    found = columns(tmp_path, QUICK_DEVICE, QUICK_DEVICE.replace(old, new))
    with pytest.raises(
        RunFolderError, match=rf"0/device.yaml and .*1/device.yaml are both called 'quick_cpu', and differ in {named}:"
    ):
        distinct_columns(found)


def test_a_column_says_what_runs_its_models(tmp_path):
    here, traced = columns(
        tmp_path,
        QUICK_DEVICE,
        QUICK_DEVICE.replace("onnxruntime", "torch")
        .replace("session_count: 1", "session_count: 3")
        .replace("max_sessions: 1", "max_sessions: 3"),
    )
    assert here.detail == "onnxruntime, fp32, 1 thread, 1 session"
    assert traced.detail == "torch (traced TorchScript, not eager), fp32, 1 thread, 3 sessions"


def test_unknown_numbers_are_refused(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    with pytest.raises(RunFolderError, match="'int4'"):
        parse_column(f"{tmp_path / 'device.yaml'}@int4")


def test_torch_has_no_eight_bit_files(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE.replace("onnxruntime", "torch"))
    with pytest.raises(RunFolderError, match="onnxruntime or litert"):
        parse_column(f"{tmp_path / 'device.yaml'}@int8")
