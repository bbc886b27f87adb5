"""A shared search that was stopped, finished or moved: how it goes on, and with whom alone."""

from __future__ import annotations

import shutil

import pytest
import torch

from search.errors import RunFolderError
from search.files import read_json_lines
from search.run_settings import Target
from search.shared_search import share_of
from search.steps.derive import derive_networks
from search.steps.search import finished_trainer
from tests.search.made_up_runs import QUIET, FlatPredictor, make_run, searched, stopped_at


def test_run_folders_that_are_moved_together_find_each_other(runs, tmp_path):
    searched(runs())
    (tmp_path / "elsewhere").mkdir()
    for name in "abc":
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    _, b, _ = runs(tmp_path / "elsewhere")
    assert finished_trainer(b).files.folder.resolve() == (tmp_path / "elsewhere" / "a" / "search").resolve()


def test_a_search_whose_holder_is_gone_is_an_error_that_names_the_mend(runs):
    a, b, _ = searched(runs())
    shutil.rmtree(a.folder.path)
    with pytest.raises(RunFolderError, match=r"Put that run folder back, or remove .*shared\.json"):
        share_of(b.folder)


def test_a_stopped_search_goes_on_to_what_an_unbroken_one_finds_whatever_the_order_of_the_runs(
    runs, tmp_path, monkeypatch
):
    searched(runs())
    killed = tmp_path / "killed"
    stopped_at(runs(killed), 40, monkeypatch)
    a, b, c = runs(killed)
    searched([a, c, b])
    whole, resumed = (finished_trainer(run) for run in (runs()[0], a))
    for left, right in zip(whole.states, resumed.states, strict=True):
        expected = left.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in right.state_dict().items())
    logged = [
        [(event["step"], event["target"], event["loss"]) for event in read_json_lines(trainer.files.events)]
        for trainer in (whole, resumed)
    ]
    assert logged[0] == logged[1]


def test_a_search_goes_on_with_the_very_same_runs_only(runs, tmp_path, monkeypatch):
    stopped_at(runs(), 8, monkeypatch)
    a, b, c = runs()
    another = make_run(tmp_path / "d", target=Target(milliseconds=0.06))
    for others in ([b], [b, c, another], [b, another]):
        with pytest.raises(RunFolderError, match=r"proxyless search .*a --with .*b --with .*c\. To begin another"):
            searched([a, *others])
    with pytest.raises(RunFolderError, match="begun with other runs"):
        searched([b, a, c])
    for run in (a, b):
        with pytest.raises(RunFolderError, match=r"step 5 of .*proxyless search .*a --with .*b --with .*c"):
            searched([run])


def test_once_the_shared_search_is_finished_a_run_alone_has_nothing_left_to_search(runs):
    searched(runs())
    events = runs()[0].folder.search / "events.jsonl"
    before = events.read_text()
    for run in runs():
        searched([run])
    searched(runs())
    assert events.read_text() == before
    assert not (runs()[1].folder.search / "events.jsonl").exists()


def test_a_search_that_is_not_finished_is_not_derived_from(runs, monkeypatch):
    stopped_at(runs(), 8, monkeypatch)
    for run in runs():
        with pytest.raises(RunFolderError, match="finish it first"):
            derive_networks(run, QUIET)
    alone = make_run(runs()[0].folder.path.parent / "alone")
    with pytest.raises(RunFolderError, match="step 0 of"):
        derive_networks(alone, QUIET)


def test_a_predictor_that_changed_after_the_search_is_refused(runs):
    searched(runs())
    _, b, _ = runs()
    b.predictor = FlatPredictor(0.0101)
    with pytest.raises(RunFolderError, match=r"is not the one that its search began with \(0\.062 ms on here\)"):
        finished_trainer(b)
