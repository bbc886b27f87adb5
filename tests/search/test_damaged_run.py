"""A run folder of which a file was edited, damaged or lost: what is wrong is said, and how to mend it; no traceback."""

from __future__ import annotations

import dataclasses
import json

import pytest
from rich.console import Console

from search.architecture import Architecture, write_architecture
from search.data import DataError
from search.errors import RunFolderError
from search.files import write_json
from search.network_file import read_network_file
from search.run import NETWORK_NAMES, Run, read_target
from search.run_settings import require_same
from search.steps import report as report_step
from search.steps.derive import derive_networks, restore_lost_networks
from search.steps.export import is_exported
from search.steps.report import search_card
from search.steps.train import is_trained, train
from search.steps.verify import read_verification
from search.train_network import TrainFiles, load_trained, read_result
from tests.search.data.image_files import write_class_folders
from tests.search.made_up_runs import QUIET, SETTINGS, make_run

VERIFICATION = {"target_ms": 1.0, "measured_ms": 0.9, "spread": 0.01, "verdict": "accepted"}
VERIFICATION |= {"predicted_ms": None, "predicted_interval_ms": None}


@pytest.fixture
def run(tmp_path):
    """A run that has derived its networks."""
    run = make_run(tmp_path / "run")
    choices = (0,) * len(run.space.positions)
    for name in NETWORK_NAMES:
        run.write_network(run.space.network(choices, name))
    write_json(run.folder.derivation, {"derived": {}, "judged": []})
    write_architecture(run.folder.architecture, Architecture.of(run.space, choices))
    return run


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize("content", ["[]", "5", '{"schema": 1}', '{"schema": 1, "layers": [3]}', '{"layers": {}}'])
def test_a_network_file_that_holds_no_network_is_named(run, content):
    write(run.folder.network("random"), content)
    with pytest.raises(RunFolderError, match=r"random\.json holds no network .*proxyless derive"):
        run.read_network("random")


@pytest.mark.parametrize("content", ["[]", "{}", json.dumps(VERIFICATION | {"measured_ms": "fast"})])
def test_a_verification_that_was_edited_is_named(run, content):
    write(run.folder.verification("derived"), content)
    with pytest.raises(RunFolderError, match=r"verify/derived\.json .*; remove it|verify/derived\.json .* Remove it"):
        read_verification(run, "derived")


def test_a_verification_as_it_was_written_is_read(run):
    write(run.folder.verification("derived"), json.dumps(VERIFICATION))
    assert read_verification(run, "derived") == VERIFICATION


def test_a_damaged_budget_result_or_list_of_exports_is_named(run):
    for path in (run.folder.target, TrainFiles(folder=run.folder.training("derived")).result, run.folder.exports):
        write(path, "[]")
    write(TrainFiles(folder=run.folder.training("derived")).weights, "")
    with pytest.raises(RunFolderError, match=r"target\.json holds no JSON object"):
        read_target(run.folder)
    with pytest.raises(RunFolderError, match=r"result\.json holds no JSON object"):
        read_result(TrainFiles(folder=run.folder.training("derived")))
    with pytest.raises(RunFolderError, match=r"export\.json holds no JSON object"):
        is_exported(run, "derived")


def test_a_training_whose_weights_were_lost_is_not_called_finished(run):
    files = TrainFiles(folder=run.folder.training("derived"))
    write(files.result, '{"accuracy": 0.9}')
    assert not is_trained(run, "derived")
    write(files.weights, "")
    assert is_trained(run, "derived")


def test_a_derived_network_whose_file_was_lost_is_written_again_by_derive(run):
    before = run.folder.network("derived").read_text()
    run.folder.network("derived").unlink()
    derive_networks(run, QUIET)
    assert run.folder.network("derived").read_text() == before


def test_a_baseline_whose_file_was_lost_is_no_silent_success_of_derive(run):
    run.folder.network("random").unlink()
    with pytest.raises(RunFolderError, match=r"random\.json is gone.*export/random\.json holds the same"):
        restore_lost_networks(run)
    assert read_network_file(run.folder.network("derived")).name == "derived"


def test_images_that_are_not_those_of_before_are_refused(tmp_path):
    write_class_folders(tmp_path / "images", image_count=10)
    made = make_run(tmp_path / "run", data=str(tmp_path / "images"))
    first, second, third = (Run(made.folder.path, made.settings) for _ in range(3))
    assert first.data.hash == second.data.hash
    (tmp_path / "images" / "cat" / "0.png").unlink()
    with pytest.raises(RunFolderError, match=r"16 training and 4 test images then, .* begin a new run folder"):
        _ = third.data


@pytest.mark.parametrize("content", [b"", b"{}", bytes(100)])
def test_damaged_weights_are_named_with_their_mend(run, content):
    files = TrainFiles(folder=run.folder.training("derived"))
    files.folder.mkdir(parents=True)
    files.weights.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"weights\.safetensors is damaged .* Remove .*derived and train"):
        load_trained(run.read_network("derived"), files)


def test_a_derivation_that_was_edited_is_named_by_the_report(run):
    write(run.folder.derivation, "{}")
    with pytest.raises(RunFolderError, match=r"derivation\.json was changed or damaged: derived, judged"):
        search_card(run)


def test_a_derivation_that_was_removed_is_derived_anew(run):
    run.folder.derivation.unlink()
    with pytest.raises(RunFolderError, match="finish it first"):  # it goes on to the search, of which this run has none
        derive_networks(run, QUIET)


def test_a_network_that_was_not_derived_is_named_before_a_process_is_started(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"networks/derived\.json is not there"):
        train(run, QUIET)
    assert not (run.folder.path / "train").exists()


@pytest.mark.parametrize("spelling", ["{}/", "{}/../images", "link"])
def test_one_folder_is_the_same_however_it_is_spelled(tmp_path, monkeypatch, spelling):
    images = tmp_path / "images"
    images.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(images)
    kept, asked = (dataclasses.replace(SETTINGS, data=data) for data in (str(images), spelling.format(images)))
    require_same(tmp_path / "run", kept, asked)
    (tmp_path / "other").mkdir()
    (tmp_path / "digits").mkdir()
    with pytest.raises(RunFolderError, match="is a run with --data digits"):  # the data set of that name
        require_same(
            tmp_path / "run", dataclasses.replace(kept, data="digits"), dataclasses.replace(kept, data="./digits")
        )
    with pytest.raises(RunFolderError, match="is a run with --data"):
        require_same(tmp_path / "run", kept, dataclasses.replace(kept, data=str(tmp_path / "other")))


def test_a_report_of_images_that_are_gone_keeps_what_was_written_of_them(tmp_path, monkeypatch, capsys):
    made = make_run(tmp_path / "run", data=str(tmp_path / "gone"))
    run = Run(made.folder.path, made.settings)
    run.device = made.device
    monkeypatch.setattr(report_step, "write_report", lambda folder: folder / "report.html")
    with pytest.raises(DataError, match="gone"):
        report_step.report(run, Console())
    write(run.folder.card, "{}")
    report_step.report(run, Console())
    assert "run.json stays as it was" in capsys.readouterr().out
    assert run.folder.card.read_text() == "{}"
