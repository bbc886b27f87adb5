"""Which runs may share a search: what is refused before anything is written, and in which words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from search.errors import RunFolderError, TargetError
from search.files import write_json
from search.run_settings import Target, keep_settings, parse_sharer, read_settings
from search.steps.share import open_sharer
from tests.search.made_up_runs import SETTINGS, make_run, searched
from tests.search.small_search import tiny_space


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
    assert open_sharer(f"{tmp_path / 'b'}=0.8ms", None).target == Target(milliseconds=0.8)
    write_json(tmp_path / "b" / "search" / "target.json", {"target_ms": 0.062})
    with pytest.raises(RunFolderError, match="is a run with the budget"):
        open_sharer(f"{tmp_path / 'b'}=0.8ms", None)


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
