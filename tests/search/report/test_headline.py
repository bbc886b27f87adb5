"""The first thing on the page: the verdict, and what is said of a measurement's noise."""

import json

import pytest

from search.report.headline import headline
from search.report.run_folder import read_run


@pytest.mark.parametrize(
    ("measured_ms", "tone"), [(0.119, "good"), (0.12, "good"), (0.123, "warn"), (0.124, "bad"), (None, "open")]
)
def test_the_verdict_allows_three_percent_for_the_noise_of_measuring(run_folder, measured_ms, tone):
    run_folder.measured_ms["derived"] = measured_ms or 1.0
    if measured_ms is not None:
        run_folder.add_verification()

    assert headline(read_run(run_folder.folder)).verdict.tone == tone


def test_a_noisy_timing_is_said_to_be_noisy(run_folder):
    run_folder.add_verification()
    verified = json.loads((run_folder.folder / "verify" / "derived.json").read_text())
    run_folder.write("verify/derived.json", verified | {"verdict": "noisy"})

    assert "the timing was noisy" in headline(read_run(run_folder.folder)).figures[2].note


def test_sessions_are_said_to_agree_only_when_there_were_several(run_folder):
    run_folder.add_verification()
    assert "sessions differ by 1.1\u00a0%" in headline(read_run(run_folder.folder)).figures[2].note

    card = json.loads((run_folder.folder / "run.json").read_text())
    run_folder.write("run.json", card | {"device": card["device"] | {"session_count": 1}})

    note = headline(read_run(run_folder.folder)).figures[2].note
    assert "timed in one session, so its noise is not known" in note and "differ" not in note


def test_the_accuracies_beside_the_derived_networks_are_those_of_added_baselines_too(run_folder):
    run_folder.finish()
    assert headline(read_run(run_folder.folder)).figures[3].note.startswith("random 90.2\u00a0%, hand-made 90.5\u00a0%")
    run_folder.write("networks/random-2.json", json.loads((run_folder.folder / "networks/random.json").read_text()))
    run_folder.write("train/random-2/result.json", {"schema": 1, "accuracy": 0.925})

    note = headline(read_run(run_folder.folder)).figures[3].note
    assert note.startswith("2 random 90.2\u00a0% to 92.5\u00a0%, hand-made 90.5\u00a0%")
    run_folder.write(
        "networks/handmade-k5-e3.json", json.loads((run_folder.folder / "networks/random.json").read_text())
    )
    run_folder.write("train/handmade-k5-e3/result.json", {"schema": 1, "accuracy": 0.899})

    note = headline(read_run(run_folder.folder)).figures[3].note
    assert "2 hand-made 89.9\u00a0% to 90.5\u00a0%" in note
