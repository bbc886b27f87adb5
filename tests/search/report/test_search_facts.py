"""The run's card says what was chosen for the search, how networks were ranked, and how often the device was asked."""

import numpy as np
import pytest

from search.ranking import LOGIT_VOICE, ranked_losses
from search.report import write_report
from search.report.search_facts import search_facts
from search.smoothing import MISJUDGED_SHARE, smoothed_losses
from search.steps.report import read_ranking, search_card
from search.trainer import SearchFiles
from tests.search.made_up_runs import make_run
from tests.search.report.page_dom import section, text_of

CHOSEN = {"estimator": "two-path", "latency_weight_per_ms": 0.5, "least_budget_share": 0.8}
CHOSEN |= {"ranking": {"logit_voice": 0.3, "misjudged_share": 0.2}, "device_visits": {"planned": 6, "done": 5}}


def test_the_page_shows_the_choices_of_the_search(run_folder):
    run_folder.write("run.json", run_folder.run_facts(0) | {"search": CHOSEN, "preset": "quick"})

    card = text_of(section(write_report(run_folder.folder).read_text(), "run"))

    assert "Preset quick" in card
    assert "Path logits learn by two-path: the paper" in card
    assert "Latency term 0.5 per ms, fixed" in card
    assert "Derived from 80 % of the budget up to the budget" in card
    assert "corrected by similar networks" in card and "by the logits (weight 0.3)" in card
    assert "Device in the loop asked 5 times of 6" in card


def test_a_card_from_before_the_choices_were_kept_makes_a_page_without_them(run_folder):
    card = text_of(section(write_report(run_folder.folder).read_text(), "run"))

    assert "Seed 0" in card
    assert "Latency term" not in card and "Ranked by" not in card and "Device in the loop" not in card


def test_a_card_of_the_first_three_choices_alone_shows_those_three():
    early = {"estimator": "full", "latency_weight_per_ms": None, "least_budget_share": 0.95}

    facts = dict(search_facts({"search": early}))

    assert facts == {
        "Path logits learn by": "full: all candidates of a position have a say",
        "Latency term": "multiplier found by dual ascent on the budget",
        "Derived from": "95 % of the budget up to the budget",
    }


def derivation(rank):
    rng = np.random.default_rng(0)
    choices = list(dict.fromkeys(tuple(int(c) for c in rng.integers(0, 3, 5)) for _ in range(12)))
    losses = [float(loss) for loss in rng.normal(1.0, 0.1, len(choices))]
    ranked = rank(choices, losses, [float(value) for value in rng.normal(-4, 1, len(choices))])
    judged = [
        {"choices": list(one), "held_out_loss": loss, "ranked_loss": float(value), "width": 0}
        for one, loss, value in zip(choices, losses, ranked, strict=True)
    ]
    return {"derived": judged[0], "judged": judged}


@pytest.mark.parametrize(
    ("rank", "voice"), [(ranked_losses, LOGIT_VOICE), (lambda choices, losses, _: smoothed_losses(choices, losses), 0)]
)
def test_how_networks_were_ranked_is_read_from_the_derivation_and_not_from_this_version(rank, voice):
    assert read_ranking(derivation(rank)) == {"logit_voice": voice, "misjudged_share": MISJUDGED_SHARE}


def test_a_derivation_by_plain_losses_states_no_ranking():
    plain = derivation(ranked_losses)
    for one in plain["judged"]:
        del one["ranked_loss"]

    assert read_ranking(plain) is None


def test_the_card_counts_the_visits_to_the_runs_own_device(tmp_path):
    run = make_run(tmp_path / "alone")
    assert search_card(run)["device_visits"] is None
    log = SearchFiles(folder=run.folder.search).device_loop
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('{"step": 10, "target": "a"}\n{"step": 10, "target": "b"}\n{"step": 20, "target": "a"}\n')

    assert search_card(run)["device_visits"] == {"planned": 4, "done": 2}  # of eight steps, each second
    assert search_card(run)["ranking"] is None
