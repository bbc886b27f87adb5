"""How numbers are written, and the table at the end of a run."""

import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.report import summary_table, write_report
from search.report.numbers import (
    format_bytes,
    format_change,
    format_count,
    format_ms,
    format_percent,
    format_seconds,
    relative_gap,
    thin,
)
from search.run import RunFolder
from search.steps.report import network_figures
from tests.search.report.page_dom import section, text_of


@pytest.mark.parametrize(
    ("value", "text"), [(0.1183, "0.118"), (78.04, "78.0"), (1234.5, "1,234"), (0.00050, "0.000500"), (0.0, "0")]
)
def test_latencies_have_three_significant_digits_and_no_exponent(value, text):
    assert format_ms(value) == f"{text}\u00a0ms"


def test_missing_numbers_are_dashes_and_never_zero():
    assert format_ms(None) == format_percent(None) == format_change(None) == format_seconds(None) == "—"
    assert format_count(None) == "—"
    assert relative_gap(None, 1.0) is None and relative_gap(1.0, None) is None


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+1.2"), (-0.05, "\u22125.0"), (-0.0001, "0.0"), (0.0, "0.0")])
def test_changes_carry_their_sign(value, text):
    assert format_change(value) == f"{text}\u00a0%"


@pytest.mark.parametrize(("value", "text"), [(4.21, "4.2\u00a0s"), (143.9, "2 min 23 s"), (7500, "2 h 5 min")])
def test_times_are_read_at_a_glance(value, text):
    assert format_seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (214_310, "214\u00a0k"), (4.16e6, "4.16\u00a0M")])
def test_counts_are_rounded(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(("value", "text"), [(12, "12\u00a0B"), (468_718, "469\u00a0kB"), (None, "—")])
def test_sizes_are_in_decimal_units(value, text):
    assert format_bytes(value) == text


def test_thinning_keeps_both_ends():
    assert thin(list(range(1000)), 5) == [0, 250, 500, 749, 999]
    assert thin([1, 2], 5) == [1, 2]


def printed(table) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get().replace("\u00a0", " ")


def test_the_last_table_holds_latencies_budget_and_accuracies(run_folder):
    text = printed(summary_table(run_folder.summary()))

    derived, random, handmade = (
        next(line for line in text.splitlines() if name in line) for name in ("Derived", "Random", "Hand-made")
    )
    for part in ("0.117 ms", "0.118 ms", "0.120 ms", "91.3 %", "\u22121.4 %"):
        assert part in derived
    assert "90.2 %" in random and "90.5 %" in handmade
    assert "0.117 ms" in random  # predicted
    assert "—" in handmade  # a network that the predictor could not speak of


def test_the_last_table_says_when_the_trainings_did_not_begin_alike(run_folder):
    scratch = {"derived": "from scratch", "random": "from scratch", "handmade": "from scratch"}
    alike, ahead = scratch, scratch | {"derived": "from the supernet's weights"}
    assert "began" not in printed(summary_table(run_folder.summary() | {"start": alike}))
    text = printed(summary_table(run_folder.summary() | {"start": ahead}))
    assert "Derived began from the supernet's weights, random and hand-made from scratch." in " ".join(text.split())


def test_the_last_table_names_the_networks_whose_timing_was_noisy(run_folder):
    quiet = dict.fromkeys(("derived", "random", "handmade"), "accepted")
    assert "Noisy" not in printed(summary_table(run_folder.summary() | {"verdict": quiet}))
    text = printed(summary_table(run_folder.summary() | {"verdict": quiet | {"handmade": "noisy"}}))
    assert "Noisy timing, as of a busy device: Hand-made." in " ".join(text.split())


def test_the_last_table_says_what_counts_as_meeting_the_budget_where_that_matters(run_folder):
    summary = run_folder.summary()
    assert "counts as met" not in printed(summary_table(summary | {"measured_ms": 0.99 * summary["target_ms"]}))
    assert "counts as met" in printed(summary_table(summary | {"measured_ms": 1.02 * summary["target_ms"]}))
    assert "counts as met" not in printed(summary_table(summary | {"measured_ms": 1.1 * summary["target_ms"]}))


def test_the_last_table_shows_dashes_for_what_is_missing():
    text = printed(summary_table({"target_ms": 0.12}))

    assert "0.120 ms" in text and "—" in text


def test_the_last_table_says_why_a_measured_network_has_no_prediction(run_folder):
    summary = run_folder.summary()
    known = summary | {"predicted_ms_baselines": {"random": 0.1174, "handmade": 0.119}}
    assert "No prediction" not in printed(summary_table(known))
    text = " ".join(printed(summary_table(summary)).split())
    assert "No prediction for Hand-made: the predictor has no measurement of a layer of such a size" in text


def test_a_baseline_that_was_added_has_a_row_in_the_last_table(run_folder):
    run_folder.finish()
    for part in ("networks/random{}.json", "verify/random{}.json", "train/random{}/result.json"):
        run_folder.write(part.format("-2"), json.loads((run_folder.folder / part.format("")).read_text()))
    run_folder.write("networks/random-3.json", {"only": "drawn"})

    figures = network_figures(SimpleNamespace(folder=RunFolder(run_folder.folder), device=SimpleNamespace(name="here")))
    rows = [line for line in printed(summary_table(figures)).splitlines() if "Random" in line]

    assert list(figures["accuracy"]) == ["derived", "random", "handmade", "random-2"]
    assert "Random 2" in rows[1] and "random 3" not in " ".join(rows).lower()
    assert rows[0].split()[2:] == rows[1].split()[3:]


def test_the_page_says_why_a_measured_network_has_no_prediction(run_folder):
    run_folder.finish()
    assert "No prediction" not in write_report(run_folder.folder).read_text()
    verification = json.loads((run_folder.folder / "verify" / "handmade.json").read_text())
    unknown = {"predicted_ms": None, "predicted_interval_ms": None}
    run_folder.write("verify/handmade.json", verification | unknown)

    page = write_report(run_folder.folder).read_text()

    assert "No prediction for Hand-made: the predictor has no measurement" in text_of(section(page, "trade-off"))
