"""What the run's card says of the search: what was chosen for it, and how the networks it judged were ranked."""

from __future__ import annotations

from search.report.run_folder import Json, number

_ESTIMATORS = {
    "full": "full: all candidates of a position have a say",
    "two-path": "two-path: the paper's, two drawn candidates",
    "reinforce": "REINFORCE on accuracy and latency",
}


def search_facts(record: Json) -> list[tuple[str, str]]:
    """(what, in words) for what is known.

    Args:
        record: what ``run.json`` holds; one from before a choice was kept there lacks it, and it is left out here.
    """
    search: Json = record.get("search") or {}
    if not search:
        return []
    facts = [("Path logits learn by", _estimator(search)), ("Latency term", _latency_term(search))]
    if (least := number(search, "least_budget_share")) is not None:
        facts.append(("Derived from", f"{100 * least:g} % of the budget up to the budget"))
    facts += [("Ranked by", _ranking(search.get("ranking") or {})), ("Device in the loop", _visits(search))]
    return [(name, text) for name, text in facts if text]


def _estimator(search: Json) -> str:
    name = str(search.get("estimator") or "")
    return _ESTIMATORS.get(name, name)


def _latency_term(search: Json) -> str:
    if "latency_weight_per_ms" not in search:
        return ""
    weight = number(search, "latency_weight_per_ms")
    if weight is None:
        return "multiplier found by dual ascent on the budget"
    return f"{weight:g} per ms, fixed: expected latency in the loss"


def _ranking(ranking: Json) -> str:
    misjudged, voice = number(ranking, "misjudged_share"), number(ranking, "logit_voice")
    if misjudged is None or voice is None:
        return ""
    similar = f"held-out loss, corrected by similar networks (own misjudgement: {misjudged:g} of the variance)"
    return f"{similar} and by the logits (weight {voice:g})" if voice else similar


def _visits(search: Json) -> str:
    visits: Json = search.get("device_visits") or {}
    planned, done = number(visits, "planned"), number(visits, "done")
    if planned is None or done is None:
        return ""
    return f"asked {done:g} times" + ("" if done == planned else f" of {planned:g}")
