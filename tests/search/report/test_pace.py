"""A device that ran at another pace when networks were timed than when it was profiled: told on the page and below the
table, with what they would take at the pace of the profile."""

import json

import pytest
from rich.console import Console

from search.report import summary_table, write_report
from search.report.pace import pace_note


@pytest.mark.parametrize(
    ("pace", "words", "then"), [(0.925, "7.5 % faster", "0.108 ms"), (1.25, "25.0 % slower", "0.0800 ms")]
)
def test_a_changed_pace_is_told_with_the_latency_at_the_profiles(pace, words, then):
    note = pace_note({"Derived": pace, "Random": None}, {"Derived": 0.1, "Random": 0.1}).replace("\u00a0", " ")
    assert f"the device ran {words} when these were timed" in note
    assert note.endswith(f"Derived about {then}.") and "Random" not in note


@pytest.mark.parametrize("pace", [{}, {"Derived": None}, {"Derived": 1.02}, {"Derived": 0.98}])
def test_a_pace_that_is_the_profiles_or_not_known_is_no_matter(pace):
    assert pace_note(pace, {"Derived": 0.1}) is None


def test_a_network_that_was_not_measured_has_no_part_in_it():
    assert pace_note({"Derived": 0.8}, {"Derived": None}) is None


def test_the_page_and_the_table_tell_it(run_folder):
    run_folder.finish()
    assert 'id="pace"' not in write_report(run_folder.folder).read_text()
    path = run_folder.folder / "verify" / "derived.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pace": 0.9}))
    assert "the device ran 10.0\u00a0% faster" in write_report(run_folder.folder).read_text()
    console = Console(width=300)
    with console.capture() as captured:
        console.print(summary_table(run_folder.summary() | {"pace": {"derived": 0.9}}))
    assert "the device ran 10.0\u00a0% faster" in captured.get()
