"""The recipe of a run: chosen once, kept with the run, and the same for every network that is trained in it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from search import cli
from search.files import write_json
from search.report.cards import run_card
from search.report.run_folder import read_run
from search.run import NETWORK_NAMES, open_run, start_run
from search.run_settings import RunSettings, read_settings
from search.spaces.small import small_space
from search.steps.train import train_here
from search.train_network import NetworkTrainer, TrainFiles, read_result
from tests.search.quick_device import QUICK_DEVICE

RECIPE = {"dropout": 0.2, "ema_decay": 0.9, "mixup_alpha": 0.3}
WORDS = ["--dropout", "0.2", "--ema-decay", "0.9", "--mixup-alpha", "0.3"]


def untrained(folder, **recipe: float):
    settings = RunSettings(device="d.yaml", data="digits", target=None, preset="smoke", image_limit=120, **recipe)
    run, space = start_run(folder, settings), small_space((1, 16, 16), 10)
    for index, name in enumerate((*NETWORK_NAMES, "random-2")):
        run.write_network(space.network(tuple(index for _ in space.positions), name))
    return run


def test_every_network_of_a_run_is_trained_by_the_recipe_that_the_run_began_with(tmp_path):
    untrained(tmp_path, **RECIPE)
    used = set()
    for name in ("derived", "random-2"):
        run = open_run(tmp_path)
        train_here(run, name)
        used.add(read_result(TrainFiles(folder=run.folder.training(name)))["identity"]["settings"])
    assert used == {"(4, 128, 0.1, 0.05, 0.9, 0.0001, 0.1, 0.2, 0.9, 0.3, 0.05, 0)"}


def test_a_network_is_trained_on_few_images_for_as_many_steps_as_its_preset_calls_the_least(tmp_path):
    run = start_run(tmp_path, RunSettings(device="d.yaml", data="digits", target=None, preset="demo", image_limit=200))
    data = run.split(run.train_settings.held_out_fraction)
    space = small_space((1, 16, 16), 10)
    network = space.network(tuple(0 for _ in space.positions), "derived")
    trainer = NetworkTrainer(network, data, run.train_settings, TrainFiles(folder=tmp_path / "train"))
    assert trainer.total_steps >= run.preset.least_train_steps


@pytest.mark.parametrize("name", list(RECIPE))
def test_each_part_of_the_recipe_changes_what_is_learned(tmp_path, name):
    shipped = []
    for folder, recipe in (("without", {}), ("with", {name: RECIPE[name]})):
        run = untrained(tmp_path / folder, **recipe)
        train_here(run, "derived")
        shipped.append(load_file(TrainFiles(folder=run.folder.training("derived")).weights))
    assert not all(torch.equal(value, shipped[1][key]) for key, value in shipped[0].items())


def test_a_run_from_before_there_was_a_recipe_opens_and_trains_as_it_did(tmp_path):
    run = untrained(tmp_path)
    kept = json.loads(run.folder.settings.read_text())
    run.folder.settings.write_text(json.dumps({key: value for key, value in kept.items() if key not in RECIPE}))
    assert open_run(tmp_path).train_settings == run.preset.train_settings(1, run.settings.seed)
    start_run(tmp_path, run.settings)


@pytest.mark.parametrize("verb", ["run", "profile"])
def test_the_recipe_is_kept_when_a_run_begins_and_asked_for_when_it_resumes(tmp_path, monkeypatch, capsys, verb):
    done = []
    monkeypatch.setattr("search.pipeline.run_all", lambda run, *_, **__: done.append(run))
    monkeypatch.setattr("search.steps.profile.profile", lambda run, *_: done.append(run))
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    command = [
        verb,
        "--device",
        str(tmp_path / "device.yaml"),
        "--data",
        "digits",
        "--limit",
        "120",
        "--out",
        str(tmp_path / "run"),
    ]
    command += ["--target-ms", "0.1"] if verb == "run" else []

    def code(*argv: str) -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, *argv])
        return int(ended.value.code or 0)

    assert code("--ema-decay", "1.5") == 2 and not (tmp_path / "run").exists()
    assert code(*WORDS) == 0
    settings = read_settings(tmp_path / "run" / "settings.json")
    assert (settings.dropout, settings.ema_decay, settings.mixup_alpha) == (0.2, 0.9, 0.3)
    assert code(*WORDS) == 0 and len(done) == 2
    capsys.readouterr()
    assert code("--dropout", "0.2", "--mixup-alpha", "0.3") == 2
    assert "--ema-decay 0.9" in capsys.readouterr().err


def test_the_card_of_a_run_says_its_recipe(tmp_path):
    run = untrained(tmp_path, **RECIPE)
    write_json(run.folder.card, {"schema": 1, "training": dataclasses.asdict(run.train_settings)})
    shown = "4 epochs, dropout 0.2, weights averaged with decay 0.9, mixup with alpha 0.3"
    assert ("Training", shown) in run_card(read_run(tmp_path))
    write_json(run.folder.card, {"schema": 1, "seed": 0})
    assert "Training" not in dict(run_card(read_run(tmp_path)))
