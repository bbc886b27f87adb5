"""The verbs fit, evaluate and predict."""

import json

import pytest

from latency_model.errors import LatencyModelError, PredictorMismatchError
from latency_model.measurement_file import append_measurement
from latency_model.network import network_to_json


@pytest.fixture
def files(device, make_networks, make_space_ops, tmp_path):
    networks = make_networks(15)
    for measurement in device.measure([*make_space_ops(networks), *networks[:12]]).measurements:
        append_measurement(tmp_path / "measurements.jsonl", measurement)
    for measurement in device.measure(networks[12:]).measurements:
        append_measurement(tmp_path / "fresh.jsonl", measurement)
    (tmp_path / "network.json").write_text(json.dumps(network_to_json(networks[12])))
    return tmp_path


def test_fit_saves_a_predictor_and_says_how_wrong_it_is(run, files):
    text = run("fit", files / "measurements.jsonl", "--out", files / "predictor")
    assert "12 predicted, MAPE" in text
    assert "by MACs alone" in text
    assert json.loads((files / "predictor" / "report_card.json").read_text())["networks"]["count"] == 12


def test_predict_prints_milliseconds_with_an_interval(run, files, device):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor")
    text = run("predict", files / "predictor", files / "network.json")
    assert text.count("ms (") == 1
    data = json.loads(run("predict", files / "predictor", files / "network.json", "--json"))
    row = data["networks"][0]
    assert row["low_ms"] < row["latency_ms"] < row["high_ms"]
    assert text.startswith(f"{row['latency_ms']:.3f} ms")


def test_evaluate_judges_on_fresh_measurements(run, files):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor")
    own = json.loads(run("evaluate", files / "predictor", "--json"))
    fresh = json.loads(run("evaluate", files / "predictor", "--on", files / "fresh.jsonl", "--json"))
    assert own["networks"]["count"] == 12
    assert fresh["networks"]["count"] == 3


def test_the_page_shows_every_point_and_loads_nothing(run, files):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor", "--model", "forest")
    run("evaluate", files / "predictor", "--html", files / "card.html")
    page = (files / "card.html").read_text()
    card = json.loads((files / "predictor" / "report_card.json").read_text())
    assert page.count("<circle") == card["networks"]["count"] + card["ops"]["count"]
    assert card["ops_by_kind"]["mbconv"]["count"] > 0
    assert len(card["worst_ops"]) == 10
    assert "src=" not in page
    assert "http" not in page


def test_the_page_is_written_into_a_folder_that_is_not_there_yet(run, files):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor", "--model", "table")
    run("evaluate", files / "predictor", "--html", files / "pages" / "today" / "card.html")
    assert "</html>" in (files / "pages" / "today" / "card.html").read_text()


@pytest.mark.parametrize(
    ("about", "beginning"),
    [
        ("drift", "no drift seen: the canary took 0.0% longer"),
        ("noise", "noise: the sessions of all "),
    ],
)
def test_drift_and_noise_of_the_timings_stand_on_the_card_and_on_the_page(run, files, about, beginning):
    text = run("fit", files / "measurements.jsonl", "--out", files / "predictor", "--model", "table")
    run("evaluate", files / "predictor", "--html", files / "card.html")
    said = json.loads((files / "predictor" / "report_card.json").read_text())[about]
    assert said.startswith(beginning)
    assert said in text
    assert said in (files / "card.html").read_text()


def test_measurements_of_another_device_do_not_judge(run, files):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor")
    foreign = files / "fresh.jsonl"
    foreign.write_text(foreign.read_text().replace("f00d", "beef"))
    with pytest.raises(PredictorMismatchError, match="proxyless profile"):
        run("evaluate", files / "predictor", "--on", foreign)


@pytest.mark.parametrize("content", ["{}", "no json", "[1]", '{"schema": 1, "name": "n", "layers": [{}]}'])
def test_a_file_that_is_no_network_is_refused(run, files, content):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor")
    (files / "bad.json").write_text(content)
    with pytest.raises(LatencyModelError, match=r"bad\.json is no network"):
        run("predict", files / "predictor", files / "bad.json")


def test_help_shows_an_example(run):
    for verb in ("fit", "evaluate", "predict"):
        assert f"Example: proxyless {verb}" in run(verb, "--help")


def test_a_doubt_about_fusion_rules_is_kept_with_the_predictor_and_said_by_evaluate(run, files):
    run("fit", files / "measurements.jsonl", "--out", files / "predictor", "--model", "table")
    provenance = json.loads((files / "predictor" / "network_latency.json").read_text())["provenance"]
    assert "onnxruntime 1.0" not in provenance["fusion_rules"]  # the version of the made-up device
    assert "this is version 1.0. " in provenance["fusion_doubt"]
    assert run("evaluate", files / "predictor").count("Which ops fuse was observed with") == 1
