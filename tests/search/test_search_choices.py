"""The estimator, the plain loss and the budget's band: chosen on the command line, kept with the run, never mixed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from rich.console import Console

from search import cli
from search.errors import RunFolderError
from search.files import read_json_lines, write_json
from search.run import open_run, start_run
from search.run_settings import read_settings
from search.search_choices import SearchChoices, with_search_choices
from search.steps.search import make_trainer, search
from tests.search.made_up_runs import SETTINGS, make_run
from tests.search.quick_device import QUICK_DEVICE

QUIET = Console(quiet=True)
CHOICES = SearchChoices(estimator="two-path", latency_weight_per_ms=0.5, least_budget_share=0.8)
WORDS = ["--estimator", "two-path", "--latency-weight-per-ms", "0.5", "--least-budget-share", "0.8"]


def chosen(run, choices):
    """What the command line does; data, space, device and predictor are the made-up ones."""
    settings = with_search_choices(run, choices).settings
    names = ("estimator", "latency_weight_per_ms", "least_budget_share")
    return make_run(run.folder.path, **{name: getattr(settings, name) for name in names})


def test_what_is_chosen_when_the_search_begins_is_what_it_does_and_is_kept(tmp_path):
    run = chosen(make_run(tmp_path), CHOICES)
    assert read_settings(run.folder.settings).estimator == "full"
    search(run, QUIET)
    kept = read_settings(run.folder.settings)
    assert (kept.estimator, kept.latency_weight_per_ms, kept.least_budget_share) == ("two-path", 0.5, 0.8)
    settings = make_trainer(run).settings
    assert (settings.estimator, settings.latency_weight_per_ms, settings.least_budget_share) == ("two-path", 0.5, 0.8)
    multipliers = {event["multiplier"] for event in read_json_lines(run.folder.search / "events.jsonl")}
    assert multipliers <= {None, 0.0}, "a plain loss has no dual ascent"


def test_the_plain_loss_and_the_estimator_each_change_what_is_learned(tmp_path):
    found = []
    for index, choices in enumerate(
        [SearchChoices(), SearchChoices(estimator="reinforce"), SearchChoices(latency_weight_per_ms=100.0)]
    ):
        run = chosen(make_run(tmp_path / str(index)), choices)
        search(run, QUIET)
        trainer = make_trainer(run)
        trainer.load()
        found.append(torch.cat([alpha.detach() for alpha in trainer.states[0].logits.positions]))
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_search_that_has_begun_keeps_its_estimator_and_its_loss_but_may_derive_otherwise(tmp_path):
    run = make_run(tmp_path)
    search(run, QUIET)
    for choices, words in [
        (SearchChoices(estimator="two-path"), "has estimator='full' and is past"),
        (SearchChoices(latency_weight_per_ms=0.5), "has latency_weight_per_ms=None and is past"),
    ]:
        with pytest.raises(RunFolderError, match=words):
            with_search_choices(run, choices)
    again = chosen(run, SearchChoices(estimator="full", least_budget_share=0.8))
    search(again, QUIET)
    assert read_settings(run.folder.settings).least_budget_share == 0.8
    assert make_trainer(again).settings.least_budget_share == 0.8


def test_once_a_network_is_derived_the_band_of_the_budget_stays(tmp_path):
    run = make_run(tmp_path)
    write_json(run.folder.architecture, {})
    with pytest.raises(RunFolderError, match=r"least_budget_share=0\.95 and is past"):
        with_search_choices(run, SearchChoices(least_budget_share=0.8))


def test_runs_of_different_estimators_share_no_search(tmp_path):
    a, b = make_run(tmp_path / "a"), chosen(make_run(tmp_path / "b", device="phone"), CHOICES)
    with pytest.raises(RunFolderError, match="its estimator is two-path, not full"):
        search(a, QUIET, others=[b])


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (SearchChoices(latency_weight_per_ms=-1.0), "latency_weight_per_ms=-1"),
        (SearchChoices(least_budget_share=1.0), "least_budget_share=1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, choices, words):
    with pytest.raises(RunFolderError, match=words):
        with_search_choices(make_run(tmp_path), choices)


def test_a_run_from_before_there_were_choices_opens_with_the_defaults(tmp_path):
    old = {"schema": 1, **dataclasses.asdict(SETTINGS)}
    for name in ("estimator", "latency_weight_per_ms", "least_budget_share"):
        del old[name]
    write_json(tmp_path / "settings.json", old)
    assert open_run(tmp_path).settings == SETTINGS
    start_run(tmp_path, SETTINGS)


def test_run_keeps_them_and_asks_for_them_again(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("search.pipeline.run_all", lambda run, *_, **__: done.append(run))
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    command = ["run", "--device", str(tmp_path / "device.yaml"), "--data", "digits", "--limit", "120"]
    command += ["--out", str(tmp_path / "run"), "--target-ms", "0.1"]
    for words in (WORDS, WORDS):
        cli.app([*command, *words], standalone_mode=False)
    settings = read_settings(done[-1].folder.settings)
    assert (settings.estimator, settings.latency_weight_per_ms, settings.least_budget_share) == ("two-path", 0.5, 0.8)
    with pytest.raises(RunFolderError, match="--estimator two-path, not --estimator full"):
        cli.app(command, standalone_mode=False)


def test_search_takes_them(tmp_path, monkeypatch):
    make_run(tmp_path)
    done = []
    monkeypatch.setattr("search.steps.search.search", lambda run, *_, **__: done.append(run.settings))
    cli.app(["search", str(tmp_path), "--target-ms", "0.1", *WORDS], standalone_mode=False)
    assert (done[0].estimator, done[0].latency_weight_per_ms, done[0].least_budget_share) == ("two-path", 0.5, 0.8)


def test_an_unknown_estimator_is_refused_with_those_there_are(tmp_path, capsys):
    make_run(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["search", str(tmp_path), "--target-ms", "0.1", "--estimator", "darts"])
    assert ended.value.code == 2 and "two-path" in capsys.readouterr().err
