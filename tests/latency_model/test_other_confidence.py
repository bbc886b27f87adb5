"""Intervals of another level than a predictor was fitted for, and coverage as a judged figure."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from latency_model.cli import register
from latency_model.errors import LatencyModelError
from latency_model.evaluate import ErrorFigures, coverage_band, error_figures
from latency_model.fit import fit_predictor
from latency_model.measurement_file import append_measurement
from latency_model.network import network_to_json
from latency_model.network_latency import load_network_latency
from latency_model.other_confidence import hidden_factor, with_confidence


@pytest.fixture(scope="module")
def profiled(make_device, make_networks, make_space_ops):
    """A device, a predictor fitted on 40 networks, and 60 others."""
    device, networks = make_device(noise=0.01), make_networks(100)
    measured = device.measure([*make_space_ops(networks), *networks[:40]])
    return device, fit_predictor(measured, "table"), measured, networks[40:]


@pytest.fixture
def run():
    app = typer.Typer()
    register(app)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


def share_inside(device, predictor, networks) -> float:
    inside = []
    for network in networks:
        estimate = predictor.predict_network(network.ops)
        inside.append(estimate.low_ms <= device.measurement(network).latency_ms <= estimate.high_ms)
    return float(np.mean(inside))


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_another_level_is_what_a_fit_at_that_level_says_and_holds_what_it_promises(profiled, confidence, tmp_path):
    device, predictor, measured, fresh = profiled
    predictor.save(tmp_path / "p")
    other = with_confidence(load_network_latency(tmp_path / "p"), confidence)
    again = fit_predictor(measured, "table", confidence=confidence)
    assert other.interval_factor == pytest.approx(again.interval_factor)
    assert other.confidence == confidence
    low, high = coverage_band(len(fresh), confidence)
    assert low - 0.05 <= share_inside(device, other, fresh) <= high + 0.05


def test_never_measured_ops_get_the_factor_of_that_level_too(profiled):
    _, predictor, *_ = profiled
    rng = np.random.default_rng(0)
    hidden = np.column_stack([(30 * rng.standard_normal(200)) ** 2, np.ones(200), np.full(200, 4.0)])
    kept = dataclasses.replace(predictor.kept, hidden=hidden)
    predictor = dataclasses.replace(
        predictor, kept=kept, unmeasured_factor=hidden_factor(hidden, predictor.interval_factor, 0.9)
    )
    wide, narrow = with_confidence(predictor, 0.97), with_confidence(predictor, 0.5)
    for level in (wide, narrow, predictor):
        variance = 1.0 + level.unmeasured_factor**2 * 4.0
        inside = hidden[:, 0] <= level.interval_factor**2 * variance
        assert inside.mean() == pytest.approx(level.confidence, abs=0.02)


def test_a_level_that_too_few_errors_were_kept_for_is_refused_with_what_it_needs(profiled):
    _, predictor, *_ = profiled
    with pytest.raises(LatencyModelError, match=r"errors of 40 networks; 99\.0% needs 99 or more"):
        with_confidence(predictor, 0.99)
    with pytest.raises(LatencyModelError, match=r"kept no errors.*proxyless fit"):
        with_confidence(dataclasses.replace(predictor, kept=None), 0.8)
    assert with_confidence(dataclasses.replace(predictor, kept=None), 0.9).confidence == 0.9


def test_the_verbs_take_the_level(run, profiled, tmp_path):
    device, predictor, _, fresh = profiled
    predictor.save(tmp_path / "p")
    (tmp_path / "n.json").write_text(json.dumps(network_to_json(fresh[0])))
    for network in fresh:
        append_measurement(tmp_path / "fresh.jsonl", device.measurement(network))
    data = [
        json.loads(run("predict", tmp_path / "p", tmp_path / "n.json", "--json", *extra).stdout)
        for extra in ([], ["--confidence", "0.6"])
    ]
    assert [each["confidence"] for each in data] == [0.9, 0.6]
    assert data[1]["networks"][0]["high_ms"] < data[0]["networks"][0]["high_ms"]
    text = run("evaluate", tmp_path / "p", "--on", tmp_path / "fresh.jsonl", "--confidence", "0.6").stdout
    assert "60% promised" in text
    with pytest.raises(LatencyModelError, match=r"report card .* 90%.*--on"):
        run("evaluate", tmp_path / "p", "--confidence", "0.6")
    assert run("predict", tmp_path / "p", tmp_path / "n.json", "--confidence", "80").exit_code == 2


def test_a_table_that_nothing_calibrated_has_no_other_level(run, tmp_path):
    (tmp_path / "t.csv").write_text("op,latency_ms,in_features,out_features\nlinear,0.6,1280,1000\n")
    run("fit", tmp_path / "t.csv", "--out", tmp_path / "p")
    with pytest.raises(LatencyModelError, match="an assumption"):
        with_confidence(load_network_latency(tmp_path / "p"), 0.8)


def test_coverage_is_held_against_what_so_many_samples_allow():
    low, high = coverage_band(50, 0.9)
    assert 0.8 <= low < 0.86 and 0.94 < high <= 1.0
    assert coverage_band(1000, 0.9)[0] > 0.875
    measured = np.ones(50)
    one = error_figures(measured[:1], np.array([2.0]), (np.array([1.9]), np.array([2.1])), 0.9)
    assert one.coverage_verdict.startswith("too few to tell")
    for inside, verdict in ((50, "wider than promised"), (45, "as promised"), (30, "TOO FEW")):
        predicted = np.where(np.arange(50) < inside, 1.0, 2.0)
        figures = error_figures(measured, predicted, (predicted - 0.1, predicted + 0.1), 0.9)
        assert figures.coverage_verdict.startswith(verdict)
        assert ErrorFigures(**json.loads(json.dumps(figures.to_json()))).coverage_verdict == figures.coverage_verdict


def test_a_card_judges_coverage_by_kind_and_size_and_of_all_only_where_networks_were_kept_out(
    run, make_device, make_networks, make_space_ops, tmp_path
):
    networks = make_networks(30)
    measured = make_device().measure([*make_space_ops(networks), *networks])
    predictor = fit_predictor(measured, "roofline")
    card = predictor.report_card
    assert card["networks"]["coverage_band"] is None and "by construction" in card["coverage_note"]
    for group in (card["networks_by_size"], card["ops_by_size"]):
        assert all(row["coverage_band"] for row in group.values())
    named = re.findall(r"\w+", card["ops_coverage_note"])
    for kind, row in card["ops_by_kind"].items():  # twenty ops of a kind have intervals of their own
        assert (row["coverage_band"] is None) == (row["count"] >= 20) == (kind in named)
    assert {row["count"] >= 20 for row in card["ops_by_kind"].values()} == {True, False}
    judged = fit_predictor(measured, "roofline", held_out=networks[:15])
    assert judged.report_card["networks"]["coverage_band"] and "coverage_note" not in judged.report_card
    judged.save(tmp_path / "p")
    text = run("evaluate", tmp_path / "p", "--html", tmp_path / "card.html").stdout
    assert "promised" in text.split("by MACs")[0]
    assert "smallest third: intervals hold" in text
    (of_blocks,) = (line for line in text.splitlines() if "mbconv: intervals hold" in line)
    assert of_blocks.endswith("by construction")
    page = (tmp_path / "card.html").read_text()
    assert "expected</th>" in page
    assert html.escape(card["ops_coverage_note"]) in page
