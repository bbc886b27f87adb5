"""Several runs share one search: what each gets of it, and what it costs beside searches of their own."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from rich.console import Console

from search.files import read_json, read_json_lines
from search.live_curves import EventFollower
from search.run import Run, RunFolder
from search.steps.report import shared_search_card
from search.steps.search import finished_trainer, make_trainer, own_states, search
from tests.search.made_up_runs import make_run, searched


def test_images_that_two_runs_ask_for_in_the_same_words_are_read_once(runs):
    a, b, _ = runs()
    b.data = None
    b.take_data_of(a)
    assert b.data is a.data


def test_few_images_are_said_with_how_many_more_passes_the_search_takes(runs):
    a, *_ = runs()
    printed = io.StringIO()
    search(a, Console(file=printed))
    assert "few images: 204 train, 36 choose; the search takes 5.3 times the passes of" in printed.getvalue()
    architecture_steps = [event for event in read_json_lines(a.folder.search / "events.jsonl") if event["derived_ms"]]
    assert len(architecture_steps) == 8


def test_every_run_gets_as_many_architecture_steps_as_a_search_of_its_own_gives_it(runs, tmp_path):
    searched(runs())
    alone = make_run(tmp_path / "alone")
    searched([alone])

    def steps(run: Run) -> dict[str, int]:
        names = [event["target"] for event in read_json_lines(run.folder.search / "events.jsonl") if event["target"]]
        return {name: names.count(name) for name in names}

    (count,) = steps(alone).values()
    assert steps(runs()[0]) == {
        "here at 0.057 ms": count, "here at 0.062 ms": count, "phone at 0.11 ms": count
    }  # fmt: skip
    rates = [make_trainer(run).states[0].ascent_rate for run in (runs()[0], alone)]
    assert rates[0] == pytest.approx(rates[1])


def test_every_run_goes_on_with_its_own_states_of_the_one_supernet(runs):
    a, b, c = searched(runs())
    assert [read_json(run.folder.settings)["target"]["milliseconds"] for run in (a, b, c)] == [0.057, 0.062, 0.11]
    trainers = [finished_trainer(run) for run in runs()]
    for run, trainer, name in zip(runs(), trainers, ("here at 0.057 ms", "here at 0.062 ms", "phone at 0.11 ms")):
        assert [state.target.name for state in own_states(run, trainer)] == [name]
    first, *others = (trainer.supernet.state_dict() for trainer in trainers)
    assert all(torch.equal(value, other[name]) for other in others for name, value in first.items())
    assert not (b.folder.search / "checkpoint.pt").exists()


def test_the_cost_is_kept_beside_that_of_separate_searches(runs):
    searched(runs())
    a, b, _ = runs()
    trainer = finished_trainer(a)
    settings, cost = trainer.settings, read_json(a.folder.shared_cost)
    images = len(trainer.data.train_index) + len(trainer.data.held_out_index)
    held_out = min(settings.architecture_batch_size, len(trainer.data.held_out_index))
    weights = settings.total_steps * settings.batch_size / images
    logits = settings.search_steps // settings.weight_steps_per_architecture_step * held_out / images
    assert cost["passes"] == pytest.approx(weights + 3 * logits)
    assert cost["separate_passes"] == pytest.approx(3 * (weights + logits))
    assert cost["seconds"] == pytest.approx(trainer.seconds, abs=0.01)
    assert cost["separate_seconds"] == pytest.approx(3 * cost["weight_s"] + cost["architecture_s"])
    card = shared_search_card(b)
    assert card["cost"] == cost and card["folder"] == "../a" and card["targets"] == {"tiny": "here at 0.062 ms"}
    assert shared_search_card(make_run(a.folder.path.parent / "alone")) is None


def test_a_search_for_one_run_has_the_identity_it_had_before_searches_were_shared(runs):
    alone = make_trainer(runs()[0]).settings
    shared = dataclasses.replace(alone, architecture_steps_per_turn=2)
    before = dataclasses.astuple(alone.before_deriving())[:-1]
    assert alone.identity == repr(before)
    assert shared.identity == f"{before!r}, 2 architecture steps per turn"


def test_each_target_has_curves_of_its_own(runs):
    searched(runs())
    folder: RunFolder = runs()[0].folder
    curves: dict[str, list[int]] = {}

    class Writer:
        def add_scalar(self, tag, value, step):
            curves.setdefault(tag, []).append(step)

        def flush(self):
            pass

    follower = EventFollower(folder.search / "events.jsonl", Writer(), "search", "here at 0.057 ms")
    follower.offset = 0
    follower.look()
    for tag in ("search/derived_ms", "search/derived_ms (phone at 0.11 ms)", "search/loss"):
        assert curves[tag] == sorted(set(curves[tag])) and len(curves[tag]) > 1
