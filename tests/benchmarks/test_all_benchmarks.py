"""``python -m benchmarks`` runs what there is, within its time, and leaves nothing running."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks.__main__ import benchmark_names, from_another_each_day, in_order, run_groups, side_by_side
from benchmarks.claims import NO_ERROR

CLAIM = {"claim": "memory", "value": 1.0, "unit": "ratio", "aim": "<= 1.15", "holds": True}
BROKEN = {"claim": "the rest", "value": None, "unit": "", "aim": NO_ERROR, "holds": False, "note": "KeyError: 'a'"}


def prints(*claims: dict[str, object]) -> str:
    return f"""print("a claim")\nprint({json.dumps({"benchmark": "good", "claims": claims, "seconds": 1})!r})\n"""


GOOD = prints(CLAIM)
SLOW = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
MARKER = '\nif __name__ == "__main__":\n    run_benchmark("x", measure)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder of benchmarks."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    monkeypatch.setattr(runner, "FOLDER", folder)
    monkeypatch.setattr(runner, "RESULTS", folder / "results")
    return folder


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_says_what_it_measures(name: str):
    text = importlib.import_module(f"benchmarks.{name}").__doc__
    assert text is not None and len(text.split()) > 20


def test_a_full_run_is_kept_and_a_quick_one_is_not(folder: Path):
    (folder / "good.py").write_text(GOOD)
    (run,) = run_groups([["good"]], lambda: 30.0, quick=True, at_once=1)
    assert run.problem is None and not (folder / "results").exists()
    run_groups([["good"]], lambda: 30.0, quick=False, at_once=1)
    assert json.loads((folder / "results" / "good.json").read_text())["benchmark"] == "good"


def test_a_benchmark_that_ends_badly_is_named_and_the_others_run(folder: Path):
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text("raise SystemExit(3)")
    bad, good = run_groups([["bad", "good"]], lambda: 30.0, quick=False, at_once=2)
    assert (bad.problem, good.problem) == ("ended with 3", None)
    assert not (folder / "results" / "bad.json").exists()


@pytest.mark.parametrize(("claims", "problem"), [((), "made no claim"), ((CLAIM, BROKEN), "KeyError: 'a'")])
def test_an_error_that_a_benchmark_survived_is_no_result(folder: Path, claims: tuple[dict[str, object]], problem: str):
    (folder / "broken.py").write_text(prints(*claims))
    (run,) = run_groups([["broken"]], lambda: 30.0, quick=False, at_once=1)
    assert run.problem == problem and not (folder / "results").exists()


def test_what_the_time_of_all_together_does_not_hold_is_no_failure(folder: Path):
    (folder / "good.py").write_text(GOOD)
    (folder / "slow.py").write_text(SLOW)
    ends = time.monotonic() + 3.0
    runs = run_groups([["slow"], ["good"]], lambda: ends - time.monotonic(), quick=True, at_once=1)
    assert [(run.name, run.is_stopped) for run in runs] == [("slow", True), ("good", True)]
    assert runs[1].problem == "not begun"


def test_what_is_stopped_is_stopped_with_all_that_it_started(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "slow.py").write_text(SLOW)
    (run,) = run_groups([["slow"]], lambda: 5.0, quick=False, at_once=1)
    assert run.problem is not None and re.match(r"stopped after \d+ s", run.problem)
    child = int(capsys.readouterr().out.splitlines()[-1])
    for _ in range(50):
        if not is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("what the benchmark started still runs")


def is_running(process_id: int) -> bool:
    """A process that has ended may wait as a zombie for whoever inherited it."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_time_that_is_left_is_asked_for_at_each_start(folder: Path):
    (folder / "good.py").write_text(GOOD)
    (folder / "slow.py").write_text("import time\ntime.sleep(60)\n")
    left = iter([30.0, 0.0])
    good, slow = run_groups([["good"], ["slow"]], lambda: next(left), quick=False, at_once=1)
    assert good.problem is None and slow.problem is not None and slow.seconds < 5


def test_the_shortest_come_first_and_those_that_go_on_from_what_is_kept_last(folder: Path):
    results = folder / "results"
    results.mkdir()
    for name, seconds in (("long", 900.0), ("short", 30.0), ("search_quality", 1.0)):
        (results / f"{name}.json").write_text(json.dumps({"seconds": seconds}))
    assert in_order(["search_quality", "never_kept", "long", "short"]) == [
        ["short"], ["long"], ["never_kept"], ["search_quality"]
    ]  # fmt: skip


def test_benchmarks_that_share_the_peers_environment_are_not_run_side_by_side():
    assert side_by_side(["memory", "peers", "peers_search", "ship"]) == [
        ["peers", "peers_search"],
        ["memory"],
        ["ship"],
    ]


def test_a_short_time_begins_with_another_benchmark_each_day():
    groups = [["peers", "peers_search"], ["memory"], ["ship"]]
    assert {from_another_each_day(groups, day)[0][0] for day in range(3)} == {"peers", "memory", "ship"}
    assert sorted(from_another_each_day(groups, 4)) == sorted(groups)


def test_the_command_says_which_did_not_come_to_their_end(tmp_path: Path):
    root = tmp_path / "project"
    (root / "benchmarks").mkdir(parents=True)
    (root / "benchmarks" / "__main__.py").write_text(Path(runner.__file__).read_text())
    (root / "benchmarks" / "claims.py").write_text(f"NO_ERROR = {NO_ERROR!r}")
    (root / "benchmarks" / "good.py").write_text(GOOD + "def run_benchmark(*_): pass\nmeasure = None\n" + MARKER)
    (root / "benchmarks" / "bad.py").write_text("def run_benchmark(*_): raise SystemExit(3)\nmeasure = None\n" + MARKER)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONSAFEPATH": ""},
    )
    assert done.returncode == 1
    assert "1 of 2 benchmarks ran" in done.stdout and "bad (ended with 3)" in done.stderr
