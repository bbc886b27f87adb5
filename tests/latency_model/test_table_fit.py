"""Tables of others through the verbs: fit asks for the unit, evaluate says what is unknown, predict what is missing."""

from __future__ import annotations

import hashlib
import json

import pytest

from latency_model.errors import LatencyModelError, MeasurementError, PredictorMismatchError, UnknownOpError
from latency_model.measurement_file import append_measurement
from latency_model.network import NetworkSpec, network_to_json
from latency_model.network_latency import check_predictor_matches, load_network_latency
from latency_model.ops import ConvSpec, IdentitySpec, LinearSpec, PoolSpec
from latency_model.readers import write_csv_table
from latency_model.table_fit import UNCALIBRATED_SHARE
from tests.latency_model.conftest import IDENTITY

YAML = """
Conv-input:224x224x3-output:112x112x32: {count: 4, mean: 4.0, std: 0.1}
Conv_1-input:7x7x320-output:7x7x1280: {count: 4, mean: 6.0, std: 0.1}
Logits-input:7x7x1280-output:1000: {count: 4, mean: 0.6, std: 0.1}
expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0: {count: 4, mean: 7.0, std: 0.1}
"""
STEM = ConvSpec(
    in_channels=3, in_height=224, in_width=224, out_channels=32, kernel_size=3, stride=2, activation="relu6"
)
LAST = ConvSpec(in_channels=320, in_height=7, in_width=7, out_channels=1280, kernel_size=1, activation="relu6")
POOL = PoolSpec(in_channels=1280, in_height=7, in_width=7, pool="global_average")
LOGITS = LinearSpec(in_features=1280, out_features=1000)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(YAML)
    return path


def network_file(folder, *ops):
    path = folder / "network.json"
    layers = tuple((f"layer{index}", op) for index, op in enumerate(ops))
    path.write_text(json.dumps(network_to_json(NetworkSpec(name="network", layers=layers))))
    return path


def test_a_yaml_table_does_not_say_its_unit_and_is_asked_for_it(run, table, tmp_path):
    with pytest.raises(MeasurementError, match=r"does not say the unit .*--unit ms"):
        run("fit", table, "--out", tmp_path / "p")
    with pytest.raises(LatencyModelError, match="Unknown unit 'hours'"):
        run("fit", table, "--unit", "hours", "--out", tmp_path / "p")
    with pytest.raises(MeasurementError, match="no device does"):
        run("fit", table, "--unit", "s", "--out", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_table_keeps_where_it_comes_from_and_evaluate_says_what_is_not_known(run, table, tmp_path):
    said = run("fit", table, "--unit", "ms", "--out", tmp_path / "p")
    text = run("evaluate", tmp_path / "p", "--html", tmp_path / "card.html")
    sha256 = hashlib.sha256(table.read_bytes()).hexdigest()
    assert text.strip() in said
    assert sha256[:16] in text and "read as ms" in text
    assert "device, runtime and threads are not known" in text
    assert "whole networks: not known" in text and "assumption" in text
    assert "not known" in (tmp_path / "card.html").read_text()
    provenance = load_network_latency(tmp_path / "p").provenance
    source = provenance.source
    assert provenance.identity.thread_count is None
    assert (source.file, source.sha256, source.unit) == ("published.yaml", sha256, "ms")


def test_the_price_is_the_sum_of_the_ops_with_the_wide_interval_that_is_stated(run, table, tmp_path):
    run("fit", table, "--unit", "ms", "--out", tmp_path / "p")
    network = network_file(tmp_path, LAST, POOL, LOGITS)
    text = run("predict", tmp_path / "p", network)
    data = json.loads(run("predict", tmp_path / "p", network, "--json"))
    row = data["networks"][0]
    assert row["latency_ms"] == pytest.approx(6.6)
    assert row["low_ms"] <= 6.6 * (1 - UNCALIBRATED_SHARE)
    assert row["high_ms"] >= 6.6 * (1 + UNCALIBRATED_SHARE)
    assert "assumption" in text and data["is_calibrated"] is False
    assert row["left_out_ops"] == [POOL.key]
    assert f"without {POOL.key}" in text


def test_a_network_of_which_much_is_of_kinds_that_the_table_lacks_is_refused(run, tmp_path):
    path = tmp_path / "linear.csv"
    path.write_text("op,latency_ms,in_features,out_features\nlinear,0.6,1280,1000\n")
    run("fit", path, "--out", tmp_path / "p")
    with pytest.raises(UnknownOpError):
        run("predict", tmp_path / "p", network_file(tmp_path, LAST, POOL, LOGITS))


def test_a_csv_column_states_the_unit_and_a_plain_one_is_asked_for(run, tmp_path):
    path = tmp_path / "ours.csv"
    path.write_text("op,latency_us,in_features,out_features\nlinear,600,1280,1000\n")
    assert "read as us" in run("fit", path, "--out", tmp_path / "p")
    path.write_text("op,latency,in_features,out_features\nlinear,0.6,1280,1000\n")
    with pytest.raises(MeasurementError, match="does not say the unit"):
        run("fit", path, "--out", tmp_path / "p")
    assert "read as ms" in run("fit", path, "--unit", "ms", "--out", tmp_path / "p")


def test_a_plain_sum_of_a_table_is_held_against_no_device(run, table, tmp_path):
    run("fit", table, "--unit", "ms", "--out", tmp_path / "p")
    with pytest.raises(PredictorMismatchError, match=r"nobody can tell.*--networks"):
        check_predictor_matches(load_network_latency(tmp_path / "p"), IDENTITY)


def test_whole_networks_of_the_device_calibrate_a_table(run, device, make_networks, make_space_ops, tmp_path):
    networks = make_networks(12)
    write_csv_table(device.measure(make_space_ops(networks)).op_timings(), tmp_path / "t.csv")
    for measurement in device.measure(networks).measurements:
        append_measurement(tmp_path / "whole.jsonl", measurement)
    text = run("fit", tmp_path / "t.csv", "--networks", tmp_path / "whole.jsonl", "--out", tmp_path / "p")
    assert "12 predicted, MAPE" in text and "its ops from the table t.csv" in text
    loaded = load_network_latency(tmp_path / "p")
    assert loaded.is_calibrated and loaded.report_card["networks"]["mape"] < 0.05
    check_predictor_matches(loaded, device.identity)


def test_a_table_in_another_unit_than_stated_is_suspected_by_the_networks_of_its_device(
    run, device, make_networks, make_space_ops, tmp_path
):
    """A thousandfold error gives no single op away on a slow device, and calibration would scale it off."""
    networks, path = make_networks(12), tmp_path / "t.csv"
    write_csv_table(device.measure(make_space_ops(networks)).op_timings(), path)
    path.write_text(path.read_text().replace("latency_ms", "latency_us", 1))
    run("fit", path, "--out", tmp_path / "p")
    for measurement in device.measure(networks).measurements:
        append_measurement(tmp_path / "whole.jsonl", measurement)
    with pytest.raises(MeasurementError, match=r"times the sum of their ops in t\.csv, read as us\. .*--unit"):
        run("fit", path, "--networks", tmp_path / "whole.jsonl", "--out", tmp_path / "p")


def test_the_options_of_a_table_are_refused_beside_measurements(run, tmp_path):
    with pytest.raises(LatencyModelError, match="go with a table"):
        run("fit", tmp_path / "m.jsonl", "--unit", "ms", "--out", tmp_path / "p")


def test_a_network_of_nothing_but_what_the_table_lacks_is_refused_and_one_that_costs_nothing_takes_nothing(
    run, table, tmp_path
):
    run("fit", table, "--unit", "ms", "--out", tmp_path / "p")
    with pytest.raises(UnknownOpError, match=r"pool\[.*it was not measured.*proxyless campaign"):
        run("predict", tmp_path / "p", network_file(tmp_path, POOL))
    skip = IdentitySpec(in_channels=4, in_height=7, in_width=7)
    assert run("predict", tmp_path / "p", network_file(tmp_path, skip)).startswith("0 ms (0-0)")


def test_a_plain_table_is_no_units_predictor_and_carried_over_to_none(run, device, table, tmp_path, make_networks):
    run("fit", table, "--unit", "ms", "--out", tmp_path / "p")
    for measurement in device.measure(make_networks(3)).measurements:
        append_measurement(tmp_path / "unit.jsonl", measurement)
    with pytest.raises(PredictorMismatchError, match="fit TABLE --networks"):
        run("recalibrate", tmp_path / "p", tmp_path / "unit.jsonl", "--out", tmp_path / "r")
