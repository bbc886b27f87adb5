"""The verbs of the predictor's room, given what only the search's room can build: zoo names and architecture files."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from latency_model.cli import register
from latency_model.errors import LatencyModelError
from latency_model.fit import fit_network_latency
from latency_model.measurement_file import append_measurement
from latency_model.network import network_to_json, single_op_network, with_batch
from latency_model.predictors import TablePredictor
from search import cli
from search.architecture import Architecture, write_architecture
from search.files import write_json
from search.run import RunFolder
from search.run_settings import RunSettings, keep_settings
from search.spaces.imagenet import imagenet_space, imagenet_widths_space
from search.spaces.small import small_space
from search.zoo import build_network
from tests.latency_model.conftest import AnalyticDevice, networks_of

DEVICE = str(Path(__file__).resolve().parents[2] / "device_configs" / "local_cpu_onnxruntime.yaml")


def architecture_of(space, seed=2):
    return Architecture.of(space, space.sample(random.Random(seed)))


WIDE = imagenet_widths_space((3, 224, 224), 1000).widths[-1]
ARCHITECTURES = {
    "small": (small_space((1, 28, 28), 10), RunSettings(device=DEVICE, data="gone", target=None)),
    "imagenet": (imagenet_space(), None),
    "wide": (WIDE, RunSettings(device=DEVICE, data="gone", target=None, space="imagenet-widths")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A predictor of everything asked for here, network files to hold it against, and architecture files; those of
    "small" and "wide" lie in their run folders, whose images are gone."""
    folder = tmp_path_factory.mktemp("named")
    networks = {name: build_network(name) for name in ("mobilenetv2", "proxyless-mobile")}
    networks["at-160"] = build_network("mobilenetv2", (3, 160, 160))
    networks["two-at-160"] = with_batch(networks["at-160"], 2)
    for name, (space, settings) in ARCHITECTURES.items():
        architecture = architecture_of(space)
        networks[name] = architecture.network(space)
        write_architecture(folder / name / "architecture.json", architecture)
        if settings is not None:
            keep_settings(folder / name / "settings.json", settings)
            write_json(RunFolder(folder / name).network("derived"), network_to_json(networks[name]))
    for name, network in networks.items():
        write_json(folder / f"{name}.json", network_to_json(network))
    device, known = AnalyticDevice(), networks_of(12)
    ops = dict.fromkeys(op for network in (*networks.values(), *known) for op in network.ops)
    measured = device.measure([single_op_network(op) for op in ops if op.kind != "identity"])
    table = TablePredictor.fit(measured.op_timings())
    fit_network_latency(table, device.measure(known).measurements).save(folder / "predictor")
    return folder


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def predicted(capsys, folder, *words):
    code, out, err = run(capsys, "predict", folder / "predictor", *words, "--json")
    assert code == 0, err
    return [{**row, "network": None} for row in json.loads(out)["networks"]]


@pytest.mark.parametrize("name", ["mobilenetv2", "proxyless-mobile"])
def test_a_network_of_the_zoo_is_predicted_by_its_name(capsys, folder, name):
    by_name, by_file = predicted(capsys, folder, name, folder / f"{name}.json")
    assert by_name == by_file


@pytest.mark.parametrize("shape, file", [("1,3,160,160", "at-160.json"), ("2,3,160,160", "two-at-160.json")])
def test_the_images_of_a_network_of_the_zoo_are_chosen(capsys, folder, shape, file):
    by_name, by_file = predicted(capsys, folder, "mobilenetv2", folder / file, "--input-shape", shape)
    assert by_name == by_file


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_file_is_predicted_as_its_network(capsys, folder, name):
    by_architecture, by_file = predicted(capsys, folder, folder / name / "architecture.json", folder / f"{name}.json")
    assert by_architecture == by_file


def test_a_campaign_takes_networks_of_the_zoo_and_architecture_files(capsys, folder, tmp_path):
    out = ["--grain", "networks", "--out", tmp_path / "new.jsonl", "--dry-run"]
    code, said, err = run(capsys, "campaign", DEVICE, "proxyless-mobile", folder / "small" / "architecture.json", *out)
    assert code == 0, err
    assert "2 whole networks" in said


def test_an_architecture_file_can_be_chosen_to_measure_for_a_transfer(capsys, folder, tmp_path):
    (space, _), device = ARCHITECTURES["small"], AnalyticDevice()
    _, second, *others = architecture_of(space).choices
    known = [
        space.network((first, (second + shift) % 6, *others), f"known{first}{shift}")
        for first in range(6)
        for shift in (1, 2)
    ]
    ops = dict.fromkeys(op for network in (*known, architecture_of(space).network(space)) for op in network.ops)
    measured = device.measure([*(single_op_network(op) for op in ops if op.kind != "identity"), *known])
    for measurement in measured.measurements:
        append_measurement(tmp_path / "known.jsonl", measurement)
    words = ["--network", folder / "small" / "architecture.json", "--choose", 13]
    code, said, err = run(capsys, "transfer", tmp_path / "new.jsonl", tmp_path / "known.jsonl", *words)
    assert code == 0, err
    assert "\n  derived\n" in said


@pytest.mark.parametrize(
    "words, said",
    [
        (["mobilnetv2"], "is no file here, and as a name: The zoo has no 'mobilnetv2'.* Did you mean 'mobilenetv2'"),
        (["mobilenetv2", "--input-shape", "3,224"], "has 2 numbers: write batch, channels, height, width"),
        (["mobilenetv2", "--input-shape", "1,3,16,16"], "16x16 pixels are too few"),
        (["gone/derived.json"], "Cannot read gone/derived.json"),
    ],
)
def test_a_name_that_makes_no_network_is_refused_with_the_mend(capsys, folder, words, said):
    code, _, err = run(capsys, "predict", folder / "predictor", *words)
    assert code == 2
    assert re.search(said, err)


def test_an_architecture_whose_images_and_classes_nothing_tells_is_refused_with_the_mend(capsys, folder, tmp_path):
    shutil.copy(folder / "small" / "architecture.json", tmp_path / "alone.json")
    for words in ([], ["--input-shape", "1,1,28,28"]):
        code, _, err = run(capsys, "predict", folder / "predictor", tmp_path / "alone.json", *words)
        assert code == 2
        assert "holds only choices in the space 'small'" in err and "Give the network itself" in err


def test_an_architecture_of_another_version_of_its_space_is_refused(capsys, folder, tmp_path):
    space = imagenet_space()
    other = dataclasses.replace(architecture_of(space), space_hash="0" * 16)
    write_architecture(tmp_path / "old.json", other)
    code, _, err = run(capsys, "predict", folder / "predictor", tmp_path / "old.json")
    assert code == 2
    assert "0000000000000000" in err and "RUN/networks/derived.json" in err


def test_without_the_app_that_knows_them_the_verbs_take_files_alone(folder):
    app = typer.Typer()
    register(app)
    for name, said in (("mobilenetv2", "Cannot read"), (folder / "small" / "architecture.json", "is no network")):
        with pytest.raises(LatencyModelError, match=said):
            CliRunner().invoke(app, ["predict", str(folder / "predictor"), str(name)], catch_exceptions=False)
