"""What one must know to compare runs: on which images and how they were trained, and who shared a search."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from search.report.numbers import format_seconds
from search.report.recipe import start_of
from search.report.run_folder import Json, RunRecord, number


def comparison_notes(runs: Mapping[str, RunRecord]) -> list[str]:
    """A sentence or two for each thing that keeps numbers of these runs from being compared; none when nothing does.

    Args:
        runs: by the title that each has on the page.
    """
    notes = [_data_note(runs), _recipe_note(runs), *_shared_search_notes(runs)]
    return [note for note in notes if note]


def search_of(title: str, runs: Mapping[str, RunRecord]) -> str:
    """Whether a run was searched alone, or with which others and where that search lies."""
    shared = runs[title].run.get("shared_search")
    if not shared:
        return "its own"
    count = len(shared.get("runs") or ())
    holder = _title_of(_holder(runs[title]), runs)
    return f"one for {count} runs, held by {'this one' if holder == title else holder}"


def _data_note(runs: Mapping[str, RunRecord]) -> str:
    contents = {title: _content(run) for title, run in runs.items()}
    is_known = None not in contents.values()
    groups = _grouped({title: contents[title] if is_known else _data_facts(run) for title, run in runs.items()})
    if len(groups) == 1:
        return ""
    words = [_data_words(runs[titles[0]]) for titles in groups]
    if len(set(words)) < len(words):
        words = [
            f"{text}, content {(contents[titles[0]] or '?')[:8]}" for text, titles in zip(words, groups, strict=True)
        ]
    listed = "; ".join(f"{_listed(titles)}: {text}" for text, titles in zip(words, groups, strict=True))
    return f"These runs are of different data ({listed}). Accuracies compare only between runs of the same data."


def _content(run: RunRecord) -> str | None:
    """The hash of the images that the derived network was trained and tested on."""
    content: str | None = ((run.networks["derived"].result or {}).get("identity") or {}).get("data")
    return content


def _data_facts(run: RunRecord) -> Hashable:
    data: Json = run.run["data"]
    lists = ("class_names", "image_shape")
    numbers = (data.get("name"), data.get("train_count"), data.get("test_count"))
    return (*numbers, *(tuple(data.get(key) or ()) for key in lists))


def _data_words(run: RunRecord) -> str:
    data: Json = run.run["data"]
    _, *size = data.get("image_shape") or (None, "?", "?")
    counts = [f"{data[key]:,} {part} images" for part, key in (("training", "train_count"), ("test", "test_count"))]
    return f"{data['name']}, {' and '.join(counts)} of {' x '.join(map(str, size))} pixels"


def _recipe_note(runs: Mapping[str, RunRecord]) -> str:
    recipes = {title: recipe for title, run in runs.items() if (recipe := _recipe(run))}
    names = dict.fromkeys(name for recipe in recipes.values() for name in recipe)
    differing = [name for name in names if len({recipe.get(name) for recipe in recipes.values()}) > 1]
    if not differing:
        return ""
    words = {
        title: ", ".join(_setting(name, recipe[name]) for name in differing if name in recipe)
        for title, recipe in recipes.items()
    }
    listed = "; ".join(f"{_listed(titles)}: {words[titles[0]]}" for titles in _grouped(words))
    return (
        f"Their derived networks were trained differently ({listed}): accuracies compare trainings as well as networks."
    )


def _recipe(run: RunRecord) -> dict[str, Any]:
    """What the training of the derived network was, less the seed; empty where that is not known."""
    result = run.networks["derived"].result
    settings: Json = run.run.get("training") or {}
    if result is None or not settings:
        return {}
    start = start_of(result)
    recipe = {name: value for name, value in settings.items() if name != "seed"}
    return recipe if start is None else recipe | {"start": start}


def _setting(name: str, value: Any) -> str:
    return str(value) if name == "start" else f"{name.replace('_', ' ')} {value:g}"


def _shared_search_notes(runs: Mapping[str, RunRecord]) -> list[str]:
    held = {title: _holder(run) for title, run in runs.items() if run.run.get("shared_search")}
    return [_shared_search_note(titles, runs) for titles in _grouped(held)]


def _shared_search_note(titles: list[str], runs: Mapping[str, RunRecord]) -> str:
    shared: Json = runs[titles[0]].run["shared_search"]
    holder = _title_of(_holder(runs[titles[0]]), runs)
    verb = "was" if len(titles) == 1 else "were"
    text = f"{_listed(titles)} {verb} found by one search for {len(shared.get('runs') or ())} runs"
    cost: Json = shared.get("cost") or {}
    if cost:
        text += (
            f": {cost['passes']:.1f} passes over the training images in {format_seconds(number(cost, 'seconds'))}, "
            f"where separate searches make {cost['separate_passes']:.1f} in "
            f"{format_seconds(number(cost, 'separate_seconds'))}"
        )
    return f"{text}. The time of that search counts for {holder} alone."


def _holder(run: RunRecord) -> Path:
    folder: str = run.run["shared_search"]["folder"]
    return (run.folder / folder).resolve()


def _title_of(folder: Path, runs: Mapping[str, RunRecord]) -> str:
    """The title of the run in this folder, or its name where it is not among them."""
    return next((title for title, run in runs.items() if run.folder.resolve() == folder), folder.name)


def _grouped(values: Mapping[str, Hashable]) -> list[list[str]]:
    """Titles of equal value together, in order."""
    groups: dict[Hashable, list[str]] = {}
    for title, value in values.items():
        groups.setdefault(value, []).append(title)
    return list(groups.values())


def _listed(titles: list[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
