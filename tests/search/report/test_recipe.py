"""What a page says of how its networks were trained, and whether that lets their accuracies be compared."""

import html

from search.report import write_comparison, write_report
from search.report.recipe import recipe_sentence
from tests.search.report.page_dom import section, text_of


def test_networks_trained_alike_are_said_to_be(run_folder):
    page = write_report(run_folder.finish()).read_text()

    assert "Every network was trained by the same recipe, from scratch." in text_of(section(page, "trade-off"))
    assert "Derived, random and hand-made began from scratch." in text_of(section(page, "training"))


def test_a_head_start_of_the_derived_network_is_said_wherever_accuracies_are_compared(run_folder, make_run_folder):
    run_folder.finish()
    run_folder.start_from_supernet()

    page = write_report(run_folder.folder).read_text()

    note = "Derived began from the supernet's weights, random and hand-made from scratch."
    assert f"random 90.2 %, hand-made 90.5 %. {note}" in html.unescape(text_of(page.split("<main>")[0]))
    compared = html.unescape(text_of(section(page, "trade-off")))
    assert f"{note} So their accuracies compare trainings as well as networks." in compared
    assert "same recipe" not in page
    assert note in html.unescape(text_of(section(page, "training")))


def test_trainings_of_which_nothing_is_known_are_called_neither_alike_nor_different(run_folder):
    run_folder.finish()
    for name in ("derived", "random", "handmade"):
        run_folder.write(f"train/{name}/result.json", {"schema": 1, "accuracy": 0.9})

    page = write_report(run_folder.folder).read_text()

    assert "same recipe" not in page and "began" not in text_of(section(page, "training"))


def test_networks_trained_by_different_settings_are_said_to_be():
    results = {name: {"identity": {"settings": name, "start": "from scratch"}} for name in ("derived", "random")}
    assert recipe_sentence(results).startswith("Their training settings differ.")
    assert recipe_sentence({"derived": results["derived"], "random": None}) == ""


def test_runs_side_by_side_say_what_each_training_began_with(run_folder, make_run_folder, tmp_path):
    other = make_run_folder("two", seed=2)
    run_folder.finish()
    run_folder.start_from_supernet()

    page = text_of(write_comparison([run_folder.folder, other.finish()], tmp_path / "both.html").read_text())

    assert "Training, derived from the supernet's weights from scratch" in html.unescape(page)
    assert "Training, random and hand-made from scratch from scratch" in page
