"""``proxyless train``: what would change nothing is refused, and so are numbers that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from search import cli
from search.errors import RunFolderError
from search.files import write_json
from search.run import start_run
from search.run_settings import RunSettings
from search.settings import TrainSettings


@pytest.fixture
def run(tmp_path):
    """A run whose derived network was trained from scratch."""
    begun = start_run(tmp_path / "run", RunSettings(device="here.yaml", data="digits", target=None, preset="smoke"))
    keep_result(begun, "from scratch")
    return begun


def keep_result(run, start: str) -> None:
    write_json(run.folder.training("derived") / "result.json", {"accuracy": 0.5, "identity": {"start": start}})
    (run.folder.training("derived") / "weights.safetensors").touch()


def train(capsys, *argv: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *map(str, argv)])
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        ("--epochs", "100"),
        ("--epochs", "30"),
        ("--ema-decay", "0.9"),
        ("--mixup-alpha", "0.2"),
        ("--dropout", "0.2"),
        ("--batch-size", "64"),
        ("--learning-rate", "0.2"),
        ("--seed", "1"),
        ("--limit", "100"),
        ("--image-size", "16"),
        ("--data", "digits"),
    ],
)
def test_a_runs_networks_take_no_recipe_of_their_own(capsys, run, option):
    code, words = train(capsys, run.folder.path, "derived", *option)
    assert code == 2 and option[0] in words and "when it began" in words


def test_all_options_that_a_run_does_not_take_are_named_at_once(capsys, run):
    _, words = train(capsys, run.folder.path, "derived", "--epochs", "100", "--ema-decay", "0.9")
    assert "Leave out --epochs, --ema-decay" in words


def test_a_run_alone_is_not_refused(capsys, run):
    code, words = train(capsys, run.folder.path, "derived")
    assert code == 0 and not words


def test_a_network_that_is_no_runs_begins_from_scratch_and_is_one(capsys, tmp_path):
    given = ("mobilenetv2", "derived", "--from-supernet", "--data", "digits", "--out", tmp_path / "out")
    code, words = train(capsys, *given)
    assert code == 2 and "a network's name, --from-supernet" in words and "mobilenetv2 is a network" in words


@pytest.mark.parametrize("given", [(), ("--data", "digits"), ("--out", "here")])
def test_a_network_needs_data_and_a_folder(capsys, given):
    code, words = train(capsys, "mobilenetv2", *given)
    assert code == 2 and "no run folder" in words and "--data and --out" in words


def test_a_network_trained_from_scratch_is_not_taken_for_one_that_began_with_the_supernet(capsys, run):
    code, words = train(capsys, run.folder.path, "derived", "--from-supernet")
    assert code == 2 and "trained already, from scratch" in words
    assert f"remove {run.folder.training('derived')}" in words.replace("\n", " ")
    keep_result(run, "80 tensors, sum of magnitudes 34797.8274")
    assert train(capsys, run.folder.path, "derived", "--from-supernet")[0] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("name", ["epochs", "learning_rate", "dropout", "ema_decay", "mixup_alpha"])
def test_a_recipe_refuses_numbers_that_mean_nothing(name, value):
    with pytest.raises(RunFolderError, match=name):
        TrainSettings(**{"epochs": 1.0, name: value})
