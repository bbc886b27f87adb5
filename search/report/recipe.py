"""How the networks of a run were trained: what each began with, and whether their accuracies compare the networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.report.charts import network_title

SCRATCH = "from scratch"
SUPERNET = "from the supernet's weights"


def start_of(result: Mapping[str, Any] | None) -> str | None:
    """What the training that left this ``result.json`` began with; None when it does not say, or is not done."""
    start = _identity(result).get("start")
    if start is None:
        return None
    return SCRATCH if start == SCRATCH else SUPERNET


def starts_note(starts: Mapping[str, str | None]) -> str | None:
    """Who began with what; None when all that are known began alike.

    Args:
        starts: what ``start_of`` says, by the network's name.
    """
    known = {name: start for name, start in starts.items() if start is not None}
    if len(set(known.values())) < 2:  # noqa: PLR2004 - they differ
        return None
    first, *others = (
        f"{_listed([name for name, start in known.items() if start == kind])}{verb} {kind}"
        for verb, kind in zip((" began", ""), dict.fromkeys(known.values()), strict=True)
    )
    return f"{first.capitalize()}, {', '.join(others)}."


def starts_sentence(starts: Mapping[str, str | None]) -> str:
    """What every training began with, alike or not; an empty text when none is known."""
    known = {name: start for name, start in starts.items() if start is not None}
    if not known:
        return ""
    return starts_note(known) or f"{_listed(list(known)).capitalize()} began {known.popitem()[1]}."


def recipe_sentence(results: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Whether the trained networks had the same recipe; an empty text when fewer than two are, or their files do not
    say it.

    Args:
        results: each network's ``result.json``, by the network's name.
    """
    trained = {name: result for name, result in results.items() if result is not None}
    starts = {name: start_of(result) for name, result in trained.items()}
    recipes = {_identity(result).get("settings") for result in trained.values()}
    if len(trained) < 2 or None in starts.values() or None in recipes:  # noqa: PLR2004 - one has nobody beside it
        return ""
    differing = [note] if (note := starts_note(starts)) else []
    if len(recipes) > 1:
        differing.append("Their training settings differ.")
    if not differing:
        return f"Every network was trained by the same recipe, {starts.popitem()[1]}."
    return f"{' '.join(differing)} So their accuracies compare trainings as well as networks."


def _identity(result: Mapping[str, Any] | None) -> Mapping[str, Any]:
    identity: Mapping[str, Any] = (result or {}).get("identity") or {}
    return identity


def _listed(names: list[str]) -> str:
    titles = [network_title(name).lower() for name in names]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
