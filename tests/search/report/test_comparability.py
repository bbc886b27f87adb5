"""Runs side by side: what keeps their numbers from being compared is said, and nothing where nothing does."""

from __future__ import annotations

import html
import json

import pytest

from search.report import notes_on, write_comparison
from search.report.run_folder import read_run
from tests.search.report.page_dom import section, text_of

TRAINING = {"epochs": 15, "batch_size": 128, "dropout": 0.0, "ema_decay": 0.0, "mixup_alpha": 0.0, "seed": 0}
COST = {"runs": 2, "passes": 8.25, "separate_passes": 14.5, "seconds": 41.0, "separate_seconds": 75.0}


@pytest.fixture
def runs(make_run_folder):
    made = [make_run_folder("one"), make_run_folder("two", seed=2, device="pixel-4-cpu")]
    for run in made:
        run.finish()
        card(run, training=TRAINING | {"seed": len(run.folder.name)})
    return made


def card(run, **changes):
    path = run.folder / "run.json"
    run.write("run.json", json.loads(path.read_text()) | changes)


def data(run, content: str | None, **changes):
    """The images that a run trained on: their hash in its results, what is said of them on its card."""
    for name in ("derived", "random", "handmade"):
        path = run.folder / "train" / name / "result.json"
        result = json.loads(path.read_text())
        run.write(f"train/{name}/result.json", result | {"identity": {**result["identity"], "data": content}})
    card(run, data=run.run_facts(0)["data"] | changes)


def notes(runs) -> list[str]:
    return [note.replace("\u00a0", " ") for note in notes_on([run.folder for run in runs])]


def at_a_glance(runs, tmp_path) -> str:
    page = write_comparison([run.folder for run in runs], tmp_path / "both.html").read_text()
    return html.unescape(text_of(section(page, "summary")))


def test_runs_that_differ_in_device_and_seed_alone_compare_without_a_word(runs, tmp_path):
    assert notes(runs) == []
    assert "caution" not in section(
        write_comparison([run.folder for run in runs], tmp_path / "both.html").read_text(), "summary"
    )


def test_accuracies_on_different_data_are_said_not_to_compare(runs, tmp_path):
    data(runs[0], None)
    data(runs[1], None, name="digits", train_count=1437, test_count=360, image_shape=[1, 16, 16])
    (note,) = notes(runs)
    assert note == (
        "These runs are of different data (one: fashion-mnist, 60,000 training images and 10,000 test images of 28 x "
        "28 pixels; two: digits, 1,437 training images and 360 test images of 16 x 16 pixels). Accuracies compare "
        "only between runs of the same data."
    )
    assert note in at_a_glance(runs, tmp_path)


def test_the_content_of_the_images_decides_where_the_trainings_kept_it(runs):
    data(runs[0], "3f9a1c07d2"), data(runs[1], "3f9a1c07d2", name="photos")
    assert notes(runs) == []
    data(runs[1], "0b5e77aa10")
    (note,) = notes(runs)
    assert "pixels, content 3f9a1c07; two: " in note and "pixels, content 0b5e77aa)" in note


def test_trainings_of_different_length_or_start_are_said_to_differ_in_that(runs, tmp_path):
    card(runs[1], training=TRAINING | {"epochs": 2.75, "dropout": 0.2})
    (note,) = notes(runs)
    assert "(one: epochs 15, dropout 0; two: epochs 2.75, dropout 0.2)" in note
    assert "accuracies compare trainings as well as networks" in note
    text = at_a_glance(runs, tmp_path)
    assert note in text and "Recipe 15 epochs 2.75 epochs, dropout 0.2" in text
    card(runs[1], training=TRAINING)
    runs[1].start_from_supernet()
    assert "(one: from scratch; two: from the supernet's weights)" in notes(runs)[0]


def test_a_run_that_does_not_say_how_it_was_trained_is_called_neither_alike_nor_different(runs):
    facts = json.loads((runs[1].folder / "run.json").read_text())
    del facts["training"]
    runs[1].write("run.json", facts)
    assert notes(runs) == []


def shared(holder, *others):
    """One search for all of these runs, which lies in the first."""
    names = [".", *(f"../{run.folder.name}" for run in others)]
    sharers = [{"device": "d", "budget": "1 ms", "folder": name} for name in names]
    for run in (holder, *others):
        folder = "." if run is holder else f"../{holder.folder.name}"
        card(run, shared_search={"folder": folder, "targets": {"small": "a"}, "runs": sharers, "cost": COST})


def test_runs_of_one_shared_search_are_said_to_be_with_what_it_cost_and_where_its_time_counts(runs, tmp_path):
    shared(*runs)
    text = at_a_glance(runs, tmp_path).replace("\u00a0", " ")
    assert notes(runs) == [
        "one and two were found by one search for 2 runs: 8.2 passes over the training images in 41.0 s, where "
        "separate searches make 14.5 in 1 min 15 s. The time of that search counts for one alone."
    ]
    assert notes(runs)[0] in text
    assert "Search one for 2 runs, held by this one one for 2 runs, held by one" in text


def test_a_shared_search_that_a_run_beside_these_holds_is_named_by_its_folder(runs, make_run_folder, tmp_path):
    holder, alone = make_run_folder("holder"), make_run_folder("alone", seed=3)
    shared(holder, runs[0])
    alone.finish()
    (note,) = notes([runs[0], alone])
    assert note.startswith("one was found by one search for 2 runs") and note.endswith("counts for holder alone.")
    assert "Search one for 2 runs, held by holder its own" in at_a_glance([runs[0], alone], tmp_path)


def test_every_point_of_the_comparisons_plot_stands_in_a_table(runs, tmp_path):
    page = write_comparison([run.folder for run in runs], tmp_path / "both.html").read_text()
    table = html.unescape(text_of(section(page, "trade-off")))
    for run in runs:
        for name, title in (("derived", "derived"), ("random", "random"), ("handmade", "hand-made")):
            record = read_run(run.folder).networks[name]
            measured = f"{record.verification.measured_ms:.3f}"
            assert f"{run.folder.name}, {title} {measured} {100 * record.accuracy:.1f} %" in table
