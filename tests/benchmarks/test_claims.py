"""Benchmarks speak one language."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import claims

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_a_benchmark_ends_with_one_line_of_json_in_the_agreed_form():
    finished = run("-m", "benchmarks.lowering", "--quick", "--json")
    assert finished.returncode == 0, finished.stderr
    *for_people, last = finished.stdout.splitlines()
    report = json.loads(last)
    assert set(report) == {"benchmark", "claims", "environment", "seconds"}
    assert report["benchmark"] == "lowering"
    assert {"date", "commit", "processor", "vectors", "core_count", "load_before", "versions"} <= set(
        report["environment"]
    )
    assert len(for_people) == len(report["claims"]) > 0
    for claim in report["claims"]:
        assert {"claim", "value", "unit", "aim", "holds"} <= set(claim)


CLAIMS = """
from pathlib import Path
from benchmarks.claims import at_least, at_most, fact, not_measured, run_benchmark

def measure(options):
    assert options.data == Path("elsewhere") and options.quick
    yield at_most("memory", 1.2, 1.15, unit="ratio", spread=(1.1, 1.3), note="published 1.5")
    yield at_least("speed", 500, 500, unit="models/s")
    yield not_measured("phone", "<= 5", "no phone here")
    yield fact("trainings", 12, unit="trainings", note="ours costs 1.1")

run_benchmark("example", measure)
"""


def test_a_claim_that_falls_short_is_reported_and_the_benchmark_still_ends_well():
    finished = run("-c", CLAIMS, "--quick", "--json", "--data", "elsewhere")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "FALLS SHORT: memory: 1.2 ratio (1.1 to 1.3), aim <= 1.15; published 1.5"
    assert lines[1] == "holds: speed: 500 models/s, aim >= 500"
    assert lines[3] == "found: trainings: 12 trainings; ours costs 1.1"
    memory, _, phone, trainings = json.loads(lines[-1])["claims"]
    assert memory["spread"] == [1.1, 1.3]
    assert (phone["value"], phone["holds"], phone["note"]) == (None, False, "no phone here")
    assert (trainings["holds"], trainings["aim"]) == (None, "none")


MISSING = """
from benchmarks.claims import at_most, run_benchmark

def measure(options):
    yield at_most("memory", 1.0, 1.15, unit="ratio")
    (options.data / "table.csv").read_text()

run_benchmark("example", measure)
"""


def test_public_data_that_are_not_there_are_a_claim_without_a_figure(tmp_path: Path):
    finished = run("-c", MISSING, "--json", "--data", str(tmp_path / "data"))
    assert finished.returncode == 0, finished.stderr
    _, missing = json.loads(finished.stdout.splitlines()[-1])["claims"]
    assert (missing["value"], missing["aim"]) == (None, "table.csv is there")


def test_another_missing_file_is_an_error():
    other = MISSING.replace('options.data / "table.csv"', "__import__('pathlib').Path('/nowhere/table.csv')")
    finished = run("-c", other)
    assert finished.returncode == 1 and "/nowhere/table.csv" in finished.stderr


PROBE = """
import subprocess, sys
from benchmarks.claims import run_benchmark

def measure(options):
    subprocess.run([sys.executable, "-c", "raise SystemExit('the cause')"], check=True, capture_output=True, text=True)
    yield

run_benchmark("example", measure)
"""


def test_the_cause_of_a_probes_end_is_shown():
    finished = run("-c", PROBE)
    assert finished.returncode == 1 and "the cause" in finished.stderr


def test_code_that_was_changed_is_told_from_results_that_were_written(tmp_path: Path, monkeypatch):
    """A run of all benchmarks writes results one after another; they do not change the code that measured."""
    code, result = tmp_path / "benchmarks" / "claims.py", tmp_path / "benchmarks" / "results" / "one.json"
    result.parent.mkdir(parents=True)
    code.write_text("")
    result.write_text("{}")
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm all"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(claims, "__file__", str(code))
    clean = claims.present_commit()
    result.write_text('{"changed": true}')
    assert claims.present_commit() == clean
    code.write_text("changed = True")
    assert claims.present_commit() == f"{clean}-dirty"
