"""The report in a real browser: it says what the run's files say, draws everything and complains of nothing."""

import itertools
import json
import math
import re

import pytest

from search.report import write_comparison, write_report
from search.report.path_map import margin_of
from tests.search.report.page_dom import (
    ALL_PLOTS,
    READY,
    WIDTHS,
    data_value,
    drawn_plots,
    path_margins,
    path_percents,
    row_values,
)


@pytest.mark.slow
def test_a_finished_run_is_shown_whole_and_says_what_its_summary_says(run_folder, browser):
    page = browser.open(write_report(run_folder.finish()))

    assert page.console == []
    assert drawn_plots(page.dom) == ALL_PLOTS
    summary = json.loads((run_folder.folder / "summary.json").read_text())
    assert data_value(page.dom, "figure-budget") == summary["target_ms"]
    assert data_value(page.dom, "figure-predicted") == summary["predicted_ms"]
    assert data_value(page.dom, "figure-measured") == summary["measured_ms"]
    assert data_value(page.dom, "figure-test-accuracy") == summary["accuracy"]["derived"]
    for name, measured_ms in summary["measured_ms_baselines"].items():
        values = row_values(page.dom, f"network-{name}")
        assert measured_ms in values and summary["accuracy"][name] in values
    assert 'class="missing"' not in page.dom


@pytest.mark.slow
def test_the_slider_goes_back_to_the_first_probabilities(run_folder, browser):
    path = write_report(run_folder.finish())
    move = 'const s = document.getElementById("frame"); s.value = 0; s.dispatchEvent(new Event("input"));'
    moved = path.with_name("moved.html")
    moved.write_text(path.read_text().replace("</body>", f"<script>{move} console.log('moved');</script></body>"))

    page = browser.open(moved)

    assert len(page.console) == 1 and "moved" in page.console[0]
    first = json.loads((run_folder.folder / "search" / "probabilities.jsonl").read_text().split("\n")[0])
    assert path_percents(page.dom) == [round(100 * p) for row in first["probabilities"] for p in row]
    assert path_margins(page.dom) == [pytest.approx(margin_of(row), abs=0.002) for row in first["probabilities"]]
    assert re.search(r'id="frame-step"[^>]*>300<', page.dom)


@pytest.mark.slow
def test_nothing_is_wider_than_a_phone(run_folder, browser):
    page = browser.open_framed(write_report(run_folder.finish()), width=390, ready=READY, probe=WIDTHS)

    assert len(page.probed) > 8
    assert max(page.probed) <= 390
    assert page.console == []


@pytest.mark.slow
def test_an_unfinished_run_is_shown_without_complaints(run_folder, browser):
    run_folder.add_predictor()
    run_folder.add_search()

    page = browser.open(write_report(run_folder.folder))

    assert page.console == []
    assert drawn_plots(page.dom) == {"latency", "multiplier", "entropy", "loss", "predictor"}


@pytest.mark.slow
def test_runs_stand_side_by_side(make_run_folder, browser, tmp_path):
    runs = [make_run_folder("one"), make_run_folder("two", seed=2, device="pixel-4-cpu", shift=-0.01)]

    page = browser.open(write_comparison([run.finish() for run in runs], tmp_path / "both.html"))

    assert page.console == []
    assert drawn_plots(page.dom) == {"trade-off"}
    for run in runs:
        summary = run.summary()
        assert f'<data value="{summary["measured_ms"]}">' in page.dom
        assert f'<data value="{summary["accuracy"]["derived"]}">' in page.dom


POINTS = "[...inner.querySelectorAll('#plot-trade-off .points path.point')]"
PLACES = f"{POINTS}.map((one) => one.getBoundingClientRect()).map((box) => (box.left + box.right) / 2)"


@pytest.mark.slow
def test_latencies_of_unlike_devices_do_not_crowd_on_the_page(make_run_folder, browser, tmp_path):
    runs = [make_run_folder("one"), make_run_folder("two", seed=2, device="quick"), make_run_folder("three")]
    for run, factor in zip(runs, (1, 2, 20)):
        run.measured_ms = {name: factor * value for name, value in run.measured_ms.items()}
        run.finish()
    path = write_comparison([run.folder for run in runs], tmp_path / "all.html")

    page = browser.open_framed(path, width=390, ready=READY, probe=PLACES)

    assert page.console == [] and "measured latency, ms (logarithmic)" in path.read_text()
    derived = page.probed[::3]
    assert derived[2] - derived[1] == pytest.approx((derived[1] - derived[0]) * math.log(10) / math.log(2), rel=0.02)


@pytest.mark.slow
def test_a_budget_stands_at_its_place_among_latencies_that_differ_by_much(run_folder, browser):
    run_folder.measured_ms["handmade"] = 0.9
    label = "inner.querySelector('#plot-trade-off .annotation').getBoundingClientRect().left"
    page = browser.open_framed(
        write_report(run_folder.finish()), width=390, ready=READY, probe=f"[...{PLACES}, {label}]"
    )

    derived, random, handmade, budget = page.probed
    assert derived < random <= budget < handmade


@pytest.mark.slow
def test_the_matrix_of_networks_and_devices_is_a_heat_map(make_run_folder, browser, tmp_path):
    runs = [make_run_folder("one"), make_run_folder("two", seed=2, device="pixel-4-cpu")]
    matrix = {"runs": ["one", "two"], "columns": ["local-cpu-onnxruntime", "pixel-4-cpu"], "accuracy": [0.91, 0.92]}
    matrix |= {"own": ["local-cpu-onnxruntime", "pixel-4-cpu"], "latency_ms": [[0.1183, 2.5], [0.151, 2.0]]}
    matrix |= {"details": ["onnxruntime, fp32, 1 thread, 3 sessions", "torch (traced TorchScript, not eager)"]}
    matrix |= {"spread": [[0.01, 0.01], [0.01, 0.01]], "verdict": [["accepted", "accepted"], ["accepted", "noisy"]]}
    matrix |= {"data": ["fashion-mnist"] * 2, "device_budget_ms": [0.12, None]}
    matrix |= {"over_budget": [[None, None], [{"share": 0.258, "may_be_noise": False}, None]]}
    matrix |= {"findings": ["pixel-4-cpu: its own network (two) is the fastest, by 25.0%."]}

    page = browser.open(write_comparison([run.finish() for run in runs], tmp_path / "both.html", matrix))

    assert page.console == []
    table = re.search(r'<table id="heat-map".*?</table>', page.dom, re.DOTALL)[0]
    assert [float(v) for v in re.findall(r'<td class="cell[^>]*><data value="([^"]+)"', table)] == [
        0.1183,
        2.5,
        0.151,
        2.0,
    ]
    assert len(re.findall(r'class="cell chosen', table)) == 2
    assert "is the fastest, by 25.0%." in page.dom
    assert "traced TorchScript, not eager" in table and "fastest, noisy" in table
    assert len(re.findall(r'class="cell[^"]* over"', table)) == 1 and "26&nbsp;% over budget" in table
    assert "budget 0.120&nbsp;ms" in table and "Red lower edge" in page.dom


LABELS = (
    "[...inner.querySelectorAll('#plot-trade-off .textpoint text')].map((one) => one.getBoundingClientRect())"
    ".map((box) => [box.left, box.right, box.top, box.bottom])"
)
LINES = "#plot-training .scatterlayer .js-line"
DASHES = f"[...inner.querySelectorAll('{LINES}')].map((line) => line.style.strokeDasharray || '')"


@pytest.mark.slow
def test_on_a_phone_an_added_baseline_can_be_told_from_the_first(run_folder, browser):
    run_folder.finish()
    for part in ("networks/random{}.json", "verify/random{}.json", "train/random{}/result.json"):
        run_folder.write(part.format("-2"), json.loads((run_folder.folder / part.format("")).read_text()))
    verification = json.loads((run_folder.folder / "verify/random-2.json").read_text())
    run_folder.write("verify/random-2.json", verification | {"measured_ms": run_folder.measured_ms["derived"] * 1.002})
    result = json.loads((run_folder.folder / "train/random-2/result.json").read_text())
    run_folder.write("train/random-2/result.json", result | {"accuracy": run_folder.accuracy["derived"] + 0.003})
    events = (run_folder.folder / "train/random/events.jsonl").read_text()
    (run_folder.folder / "train/random-2/events.jsonl").write_text(events)

    page = browser.open_framed(write_report(run_folder.folder), width=390, ready=READY, probe=f"[{LABELS}, {DASHES}]")

    labels, dashes = page.probed
    assert len(labels) == 4
    for one, other in itertools.combinations(labels, 2):
        is_beside = one[1] <= other[0] or other[1] <= one[0]
        is_above = one[3] <= other[2] or other[3] <= one[2]
        assert is_beside or is_above
    assert [bool(dash) for dash in dashes] == [False, False, False, True]
