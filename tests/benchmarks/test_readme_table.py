"""The README's table is what is kept, and what is kept says where it comes from."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from benchmarks.__main__ import benchmark_names
from benchmarks.readme_table import between_markers, first_words, kept_results, origins, pages, summary, table


@pytest.fixture
def result() -> dict[str, Any]:
    claims = [
        {"claim": "all | one", "value": 11.43, "unit": "ratio", "aim": ">= 11", "holds": True, "spread": [11.0, 12.0]},
        {"claim": "on a phone", "value": None, "unit": "", "aim": "<= 15", "holds": False, "note": "no phone here"},
    ]
    environment = {
        "date": "2026-11-24",
        "commit": "abc1234",
        "python": "3.11.7",
        "system": "Linux x86_64",
        "processor": "AMD EPYC",
        "vectors": "avx2",
        "core_count": 2,
        "load_before": 0.1,
        "versions": {"torch": "2.13.0"},
    }
    return {"benchmark": "memory", "claims": claims, "environment": environment, "seconds": 12.3}


def test_a_row_names_its_command_and_one_without_a_figure_says_why(result: dict[str, Any]):
    *_, measured, missing = table([result]).splitlines()
    assert measured == "| all / one | 11.43 ratio (11 to 12) | >= 11 | yes | `python -m benchmarks.memory` |"
    expected = "| on a phone | not measured: no phone here | <= 15 | **no** | `python -m benchmarks.memory` |"
    assert missing == expected


def test_benchmarks_of_one_machine_and_versions_are_named_together(result: dict[str, Any]):
    place = "Linux x86_64, AMD EPYC avx2, 2 cores, Python 3.11.7, torch 2.13.0"
    memory = "memory (2026-11-24, commit abc1234, 12 s, load 0.1)"
    assert origins([result]) == f"{place}: {memory}."
    elsewhere = {**result, "benchmark": "ship", "environment": {**result["environment"], "core_count": 8}}
    peers = {**result, "benchmark": "peers"}
    assert len(origins([result, elsewhere, peers]).split("\n\n")) == 2


def test_the_table_replaces_what_stands_between_the_markers(result: dict[str, Any]):
    readme = "before\n<!-- results -->\nearlier figures\n<!-- end of results -->\nafter\n"
    once = between_markers(readme, table([result]))
    assert once.startswith("before\n<!-- results -->\n") and once.endswith("<!-- end of results -->\nafter\n")
    assert "earlier figures" not in once and between_markers(once, table([result])) == once


def test_the_pages_show_the_results_that_are_kept():
    for path, text in pages(kept_results()).items():
        assert path.read_text() == text, "benchmarks/results/ has changed: run python -m benchmarks.readme_table"


def test_a_fact_says_what_stands_beside_it_and_is_not_counted(result: dict[str, Any]):
    found = {"claim": "as good", "value": 12, "unit": "trainings", "aim": "none", "holds": None, "note": "ours 1.1"}
    result = {**result, "claims": [*result["claims"], found]}
    assert table([result]).splitlines()[-1].startswith("| as good | 12 trainings; ours 1.1 | none | a fact | `python")
    assert "| 1 of 2 |" in summary([result])


def test_the_summary_counts_what_holds(result: dict[str, Any]):
    assert summary([result]).splitlines()[-1].endswith("| 1 of 2 | `python -m benchmarks.memory` |")


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_begins_with_what_it_asks(name: str):
    words = first_words(name)
    assert 10 < len(words) < 200 and "`" not in words and "python -m" not in words


@pytest.mark.parametrize("kept", kept_results(), ids=lambda kept: kept["benchmark"])
def test_a_kept_result_is_of_a_benchmark_that_is_there_and_says_machine_versions_and_date(kept: dict[str, Any]):
    assert kept["benchmark"] in benchmark_names()
    environment = kept["environment"]
    datetime.date.fromisoformat(environment["date"])
    assert environment["processor"] and environment["core_count"] and environment["versions"]["torch"]
    for claim in kept["claims"]:
        assert claim["value"] is not None or claim["note"], f"{claim['claim']} has neither a figure nor a reason"
