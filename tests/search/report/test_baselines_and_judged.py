"""Baselines that were added to a run stand beside its own; of judged networks the best of each latency are joined."""

from __future__ import annotations

import json

from search.report import write_report
from search.report.charts import judged_chart, network_colour, network_title
from search.report.run_folder import network_names, read_run
from tests.search.report.page_dom import section, text_of


def test_a_baseline_that_was_added_is_shown_with_the_others(run_folder):
    run_folder.finish()
    for kind in ("networks", "verify"):
        run_folder.write(f"{kind}/random-2.json", json.loads((run_folder.folder / kind / "random.json").read_text()))
    run_folder.write("train/random-2/result.json", {"schema": 1, "accuracy": 0.871, "held_out_accuracy": 0.88})

    page = write_report(run_folder.folder).read_text()

    assert "Random 2 0.117 ms" in text_of(section(page, "trade-off"))
    assert "87.1 %" in text_of(section(page, "trade-off"))


def test_baselines_that_were_added_follow_the_runs_own_the_random_ones_first(tmp_path):
    names = ("derived", "handmade-k5-e3", "random-10", "handmade-k3-e4.5", "random-2", "handmade-k5-e6", "notes")
    (tmp_path / "networks").mkdir()
    for name in names:
        (tmp_path / "networks" / f"{name}.json").write_text("{}")
    found = network_names(tmp_path)
    assert found == [
        *("derived", "random", "handmade", "random-2", "random-10"),
        *("handmade-k3-e4.5", "handmade-k5-e6", "handmade-k5-e3"),
    ]
    assert [network_title(name) for name in found[2:6]] == ["Hand-made", "Random 2", "Random 10", "Hand-made k3 e4.5"]
    assert {network_colour(name) for name in found if name.startswith("handmade")} == {"--series-2"}


def test_the_best_of_each_latency_stand_beside_the_measured_networks_and_the_baselines(run_folder):
    part = section(write_report(run_folder.finish()).read_text(), "trade-off")
    assert 'id="plot-trade-off"' in part and 'id="plot-judged"' in part and 'id="network-handmade"' in part


def test_of_equally_fast_judged_networks_only_the_best_is_on_the_line(run_folder):
    points = [(0.10, 0.70), (0.10, 0.74), (0.11, 0.72), (0.12, 0.75)]
    judged = [{"predicted_ms": ms, "held_out_accuracy": accuracy} for ms, accuracy in points]
    run_folder.write("search/derivation.json", {"schema": 1, "derived": judged[1], "judged": judged})

    best = judged_chart(read_run(run_folder.folder)).series[1]

    assert list(zip(best.x, best.y)) == [(0.10, 0.74), (0.12, 0.75)]
