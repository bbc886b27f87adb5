"""Several runs share one search: who may, what each gets of it, and how it goes on when it was stopped."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from search import trainer as trainer_module
from search.errors import RunFolderError, TargetError
from search.files import read_json, read_json_lines
from search.live_curves import EventFollower
from search.run import Run, RunFolder
from search.run_settings import RunSettings, Target, keep_settings, parse_sharer, read_settings
from search.shared_search import share_of
from search.steps.derive import derive_networks
from search.steps.report import shared_search_card
from search.steps.search import finished_trainer, make_trainer, own_states, search
from search.steps.share import open_sharer
from tests.search.small_search import small_data, tiny_space

QUIET = Console(quiet=True)
SETTINGS = RunSettings(device="here.yaml", data="rows", target=Target(milliseconds=0.057), preset="smoke")


class FlatPredictor:
    """Every op costs the same, every network 0.005 ms on top."""

    constant_ms = 0.005

    def __init__(self, op_ms: float = 0.01) -> None:
        self.op_ms = op_ms

    def op_contribution_ms(self, ops):
        return np.array([0.0 if op.kind in ("zero", "identity") else self.op_ms for op in ops])


def make_run(folder: Path, *, device: str = "here", op_ms: float = 0.01, **settings) -> Run:
    """A run that is profiled and fitted, of the tiny space on made-up images; opened again, it is the same."""
    run = Run(folder, dataclasses.replace(SETTINGS, **settings))
    if not run.folder.settings.exists():
        keep_settings(run.folder.settings, dataclasses.replace(run.settings, target=None))
    run.data, run.space = small_data().data, tiny_space()
    run.device = SimpleNamespace(name=device)
    run.predictor = FlatPredictor(op_ms)
    return run


@pytest.fixture
def runs(tmp_path):
    """``runs()``: two budgets on one device and one on another, as a new process finds them."""

    def opened(root: Path = tmp_path) -> list[Run]:
        return [
            make_run(root / "a"),
            make_run(root / "b", target=Target(milliseconds=0.062)),
            make_run(root / "c", device="phone", op_ms=0.02, target=Target(milliseconds=0.11)),
        ]

    return opened


def searched(runs: list[Run]) -> list[Run]:
    search(runs[0], QUIET, others=runs[1:])
    return runs


def stopped_at(runs: list[Run], step: int, monkeypatch) -> None:
    """Search until the process dies after a step; its checkpoint is some steps older."""

    class Killed(BaseException):
        pass

    class Doomed(trainer_module.SearchTrainer):
        def take_step(self) -> None:
            if self.step == step:
                raise Killed
            super().take_step()
            if self.step == step - 3:
                self.save()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("search.steps.search.SearchTrainer", Doomed)
        searched(runs)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "demo"}, "its preset is demo, not smoke"),
        ({"seed": 4}, "its seed is 4, not 0"),
    ],
)
def test_runs_with_other_settings_share_no_search(runs, settings, words, tmp_path):
    a, *_ = runs()
    with pytest.raises(RunFolderError, match=words):
        searched([a, make_run(tmp_path / "other", **settings)])
    assert not a.folder.search.exists()


def test_runs_on_other_images_share_no_search_and_what_differs_is_named(runs, tmp_path):
    a, *_ = runs()
    other = make_run(tmp_path / "other", data="more rows")
    data = a.data
    for changed, words in [
        ({"train_images": data.train_images[..., :6]}, "its image size is 8 x 6, not 8 x 8"),
        ({"train_labels": data.train_labels[:100]}, "its count of training images is 100, not 240"),
        ({"class_names": ("low", "middle", "top")}, "its set of classes is low, middle, top"),
        ({"hash": "rows-2"}, r"its data is more rows \(rows-2\), not rows \(rows-1\)"),
    ]:
        other.data = dataclasses.replace(data, **changed)
        with pytest.raises(RunFolderError, match=words):
            searched([a, other])


def test_a_run_of_another_space_shares_no_search(runs, tmp_path):
    a, *_ = runs()
    other = make_run(tmp_path / "other", space="mine.yaml")
    other.space = dataclasses.replace(tiny_space(), positions=tiny_space().positions[:1])
    with pytest.raises(RunFolderError, match=r"its space is mine\.yaml \(.*\), not small \("):
        searched([a, other])


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


def test_a_run_is_named_once(runs):
    a, b, _ = runs()
    with pytest.raises(RunFolderError, match="named twice"):
        searched([a, b, make_run(b.folder.path / ".." / "b")])


def test_two_runs_do_not_ask_for_the_same(runs, tmp_path):
    a, *_ = runs()
    with pytest.raises(RunFolderError, match=r"Two of the runs ask for here at 0\.057 ms"):
        searched([a, make_run(tmp_path / "again")])


def test_a_run_without_a_predictor_is_told_how_to_get_one(runs):
    a, b, _ = runs()
    del b.predictor
    with pytest.raises(RunFolderError, match=r"proxyless fit .*b/measurements\.jsonl --out .*b/predictor"):
        searched([a, b])


def test_a_budget_out_of_reach_is_not_written_down_so_that_another_can_be_given(runs, tmp_path):
    a, *_ = runs()
    with pytest.raises(TargetError, match="on phone"):
        searched([a, make_run(tmp_path / "c", device="phone", target=Target(milliseconds=9.0))])
    assert read_settings(tmp_path / "c" / "settings.json").target is None
    assert read_settings(a.folder.settings).target is None


def test_a_sharers_budget_stands_behind_its_folder():
    assert parse_sharer("runs/b") == (Path("runs/b"), None)
    assert parse_sharer("runs/b=0.8ms") == (Path("runs/b"), Target(milliseconds=0.8))
    assert parse_sharer("runs/x=1/b=0.6xmobilenetv2")[0] == Path("runs/x=1/b")
    with pytest.raises(TargetError, match=r"such as 0\.8ms"):
        parse_sharer("runs/b=soon")


def test_a_sharer_keeps_its_own_budget_and_takes_the_common_one_when_it_has_none(tmp_path):
    common, own = Target(factor=0.6, reference="mobilenetv2"), Target(milliseconds=0.062)
    make_run(tmp_path / "b")
    assert open_sharer(str(tmp_path / "b"), common).target == common
    with pytest.raises(TargetError, match="has no budget yet"):
        open_sharer(str(tmp_path / "b"), None)
    keep_settings(tmp_path / "b" / "settings.json", dataclasses.replace(SETTINGS, target=own))
    assert open_sharer(str(tmp_path / "b"), common).target == own
    with pytest.raises(RunFolderError, match="is a run with the budget"):
        open_sharer(f"{tmp_path / 'b'}=0.8ms", None)


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


def test_a_run_that_has_searched_by_itself_or_with_others_joins_no_search(runs, tmp_path):
    alone = searched([make_run(tmp_path / "alone", target=Target(milliseconds=0.06))])[0]
    a, b, c = runs()
    with pytest.raises(RunFolderError, match=r"alone has begun a search already, alone"):
        searched([a, alone])
    with pytest.raises(RunFolderError, match=r"alone has begun a search already, alone"):
        searched([alone, a])
    searched([b, c])
    with pytest.raises(RunFolderError, match=r"c has begun a search already, in .*b"):
        searched([a, c])
    with pytest.raises(RunFolderError, match=r"b has begun a search already, with other runs"):
        searched([a, b])


def test_a_predictor_that_changed_after_the_search_is_refused(runs):
    searched(runs())
    _, b, _ = runs()
    b.predictor = FlatPredictor(0.0101)
    with pytest.raises(RunFolderError, match=r"is not the one that its search began with \(0\.062 ms on here\)"):
        finished_trainer(b)


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
