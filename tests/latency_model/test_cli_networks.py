"""The verbs predict (foreign networks), campaign and recalibrate."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest

from latency_model.errors import LatencyModelError, UnknownOpError, UnsupportedOpsError
from latency_model.grain import kernels_run_by
from latency_model.ingest import ingest_network, with_blocks
from latency_model.lowering import random_weights, write_onnx
from latency_model.measurement import measurement_of
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.network import NetworkSpec, network_to_json, single_op_network
from latency_model.network_files import read_network
from latency_model.network_latency import load_network_latency
from latency_model.ops import LinearSpec

DEVICE = "device_configs/local_cpu_onnxruntime.yaml"


@pytest.fixture
def files(device, make_networks, make_space_ops, tmp_path):
    networks = make_networks(13)
    kernels = dict.fromkeys(kernels_run_by("onnxruntime", [op for net in networks for op in net.ops]))
    for name, ops in (("blocks", make_space_ops(networks)), ("kernels", [single_op_network(op) for op in kernels])):
        for measurement in device.measure([*ops, *networks[:12]]).measurements:
            append_measurement(tmp_path / f"{name}.jsonl", measurement)
    (tmp_path / "network.json").write_text(json.dumps(network_to_json(networks[12])))
    write_onnx(networks[12], random_weights(networks[12]), tmp_path / "network.onnx")
    return tmp_path


def test_inverted_blocks_are_put_together_from_their_kernels(make_networks):
    for network in make_networks(5):
        assert tuple(layer.op for layer in with_blocks(ingest_network(network).kernels)) == network.ops


@pytest.mark.parametrize("grain", ["blocks", "kernels"])
def test_a_network_costs_the_same_by_its_onnx_file_and_by_its_json(run, files, grain):
    run("fit", files / f"{grain}.jsonl", "--out", files / "predictor", "--model", "table")
    data = json.loads(run("predict", files / "predictor", files / "network.json", files / "network.onnx", "--json"))
    ours, foreign = data["networks"]
    assert foreign["latency_ms"] == pytest.approx(ours["latency_ms"], rel=1e-9)
    assert ours["grain"] == foreign["grain"] == {"blocks": "ops", "kernels": "kernels"}[grain]
    assert foreign["unmeasured_ops"] == []


def test_a_foreign_network_of_kinds_that_were_never_measured_is_refused_with_the_mend(
    run, files, tmp_path, monkeypatch
):
    run("fit", files / "blocks.jsonl", "--out", files / "predictor")
    (tmp_path / "foreign_module.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1),"
        " nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.ReLU())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownOpError, match="proxyless campaign"):
        run("predict", files / "predictor", "foreign_module:make", "--input-shape", "1,3,8,8")


def test_a_torch_module_needs_its_input_shape(run, files):
    run("fit", files / "blocks.jsonl", "--out", files / "predictor")
    with pytest.raises(LatencyModelError, match="--input-shape"):
        run("predict", files / "predictor", "some.module:callable")


def test_a_dry_campaign_says_how_many_and_how_long_and_writes_nothing(run, files):
    text = run("campaign", DEVICE, files / "network.onnx", "--grain", "kernels", "--out", files / "new", "--dry-run")
    assert "ops and" in text and "about" in text
    assert not (files / "new").exists()


def slower_unit(measurements, factor, rng):
    """The same measurements as a unit would have given that is slower by about ``factor``: raw samples scaled."""
    for m in measurements:
        scale = factor * (1 + 0.01 * rng.standard_normal())
        sessions = tuple(
            dataclasses.replace(session, samples_ms=tuple(scale * ms for ms in session.samples_ms))
            for session in m.timing.sessions
        )
        identity = dataclasses.replace(m.identity, fingerprint="51053")
        yield measurement_of(m.network, identity, m.plan, dataclasses.replace(m.timing, sessions=sessions))


def test_recalibrated_by_three_networks_a_predictor_is_right_on_a_slower_unit_where_the_original_is_not(
    run, files, device, make_networks
):
    known = {m.paid_ops[0] for m in read_measurements(files / "blocks.jsonl").op_measurements()}
    networks = [network for network in make_networks(80, 1) if known.issuperset(network.ops)][:40]
    slower = list(slower_unit(device.measure(networks).measurements, 1.3, np.random.default_rng(0)))
    for name, part in (("three", slower[:3]), ("rest", slower[3:])):
        for measurement in part:
            append_measurement(files / f"{name}.jsonl", measurement)
    run("fit", files / "blocks.jsonl", "--out", files / "predictor")

    text = run("recalibrate", files / "predictor", files / "three.jsonl", "--out", files / "carried")

    assert "leave-one-out over 3" in run("evaluate", files / "carried", "--html", files / "card.html")
    assert "51053" in (files / "card.html").read_text()
    judged = json.loads(run("evaluate", files / "carried", "--on", files / "rest.jsonl", "--json"))["networks"]
    assert judged["count"] == len(networks) - 3 > 20
    assert judged["mape"] < 0.03
    assert judged["within_5_percent"] > 0.9
    original = load_network_latency(files / "predictor")
    wrong = [abs(original.predict_network(m.paid_ops).latency_ms / m.latency_ms - 1) for m in slower[3:]]
    assert min(wrong) > 0.18
    assert float(re.search(r"scaled by ([\d.]+)", text)[1]) == pytest.approx(1.3, abs=0.03)


def test_blocks_and_their_kernels_in_one_file_are_refused_with_the_mend(run, files):
    (files / "both.jsonl").write_text((files / "blocks.jsonl").read_text() + (files / "kernels.jsonl").read_text())
    with pytest.raises(LatencyModelError, match=r"Blocks and kernels are mixed: .*--grain blocks"):
        run("fit", files / "both.jsonl", "--out", files / "predictor")


def test_an_operator_without_a_spec_is_named_and_nothing_is_advised_that_the_command_line_cannot_do(
    run, files, tmp_path, monkeypatch
):
    run("fit", files / "blocks.jsonl", "--out", files / "predictor")
    (tmp_path / "odd_module.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Odd(nn.Module):\n    def forward(self, x):\n"
        "        return torch.erf(x)\n\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), Odd())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnsupportedOpsError, match="erf") as caught:
        run("predict", files / "predictor", "odd_module:make", "--input-shape", "1,3,8,8")
    assert "unsupported=" not in str(caught.value)
    assert "cut it before and after" in str(caught.value)


def test_help_shows_an_example(run):
    for verb in ("campaign", "recalibrate", "predict", "transfer"):
        assert f"Example: proxyless {verb}" in run(verb, "--help")


@pytest.mark.parametrize("fault", ["raise KeyError('gamma')", "raise AssertionError", "sys.exit(3)", "return x["])
def test_what_the_users_module_raises_is_said_as_its_fault(run, files, tmp_path, monkeypatch, fault):
    text = f"import sys\nimport torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        {fault}\n"
    (tmp_path / "their_net.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    run("fit", files / "kernels.jsonl", "--out", files / "p")
    with pytest.raises(LatencyModelError, match=r"Net|their_net"):
        run("predict", files / "p", "their_net:Net", "--input-shape", "1,3,8,8")


def test_a_network_that_begins_with_a_linear_layer_is_not_priced_at_another_batch(tmp_path):
    perceptron = NetworkSpec(name="mlp", layers=(("first", LinearSpec(in_features=784, out_features=10)),))
    (tmp_path / "mlp.json").write_text(json.dumps(network_to_json(perceptron)))
    for shape in ((1, 784), (1, 1, 28, 28)):
        assert read_network(tmp_path / "mlp.json", shape).ops == perceptron.ops
    for shape in ((32, 784), (32, 1, 28, 28), (1, 700)):
        with pytest.raises(LatencyModelError, match=r"a network for 1,784, and --input-shape .* cannot"):
            read_network(tmp_path / "mlp.json", shape)


@pytest.mark.parametrize("name", ["network.json", "network.onnx"])
def test_a_file_of_one_input_shape_is_not_priced_at_another(run, files, name):
    run("fit", files / "kernels.jsonl", "--out", files / "p")
    asked = run("predict", files / "p", files / name, "--input-shape", "1,1,28,28")
    assert asked == run("predict", files / "p", files / name)
    with pytest.raises(LatencyModelError, match=r"a network for 1,1,28,28, and --input-shape 1,1,64,64 cannot"):
        run("predict", files / "p", files / name, "--input-shape", "1,1,64,64")
