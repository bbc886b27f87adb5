"""Writes the kept benchmark results into two pages, between their markers: ``python -m benchmarks.readme_table``.

benchmarks/README.md tells what ran where and when, and has a row for each claim; the project's README has a row for
each benchmark.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE, README = Path(__file__).parent / "README.md", Path(__file__).parents[1] / "README.md"
START, END = "<!-- results -->", "<!-- end of results -->"

Result = dict[str, Any]


def kept_results() -> list[Result]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def origins(results: Sequence[Result]) -> str:
    """One paragraph per machine with its versions; of each benchmark the date, the commit and the seconds."""
    by_place: dict[str, list[str]] = {}
    for result in results:
        environment = result["environment"]
        processor = " ".join(str(environment[key]) for key in ("processor", "vectors") if key in environment)
        versions = ", ".join(f"{library} {version}" for library, version in environment["versions"].items())
        place = (
            f"{environment['system']}, {processor}, {environment['core_count']} cores, Python {environment['python']}, "
            f"{versions}"
        )
        commit = [f"commit {environment['commit']}"] if "commit" in environment else []
        load = [f"load {environment['load_before']:g}"] if "load_before" in environment else []
        parts = [environment["date"], *commit, f"{result['seconds']:.0f} s", *load]
        by_place.setdefault(place, []).append(f"{result['benchmark']} ({', '.join(parts)})")
    return "\n\n".join(f"{place}: {'; '.join(runs)}." for place, runs in by_place.items())


def table(results: Sequence[Result]) -> str:
    """One row per claim, with the command that prints it. What was not measured says why, or what it is on paper; a
    fact, which has no aim, says what stands beside it."""
    rows = ["| what | found | aim | holds | command |", "|---|---|---|---|---|"]
    for result in results:
        for claim in result["claims"]:
            if claim["value"] is None:
                found = f"not measured: {claim['note']}"
            else:
                found = f"{claim['value']:.4g} {claim['unit']}".strip()
            if spread := claim.get("spread"):
                found += f" ({spread[0]:.4g} to {spread[1]:.4g})"
            if claim["holds"] is None and "note" in claim:
                found += f"; {claim['note']}"
            holds = {True: "yes", False: "**no**", None: "a fact"}[claim["holds"]]
            cells = [claim["claim"], found, claim["aim"], holds, f"`python -m benchmarks.{result['benchmark']}`"]
            rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)


def summary(results: Sequence[Result]) -> str:
    """One row per benchmark: what it asks, and how many of its claims that have an aim hold."""
    rows = ["| what is asked | claims that hold | command |", "|---|---|---|"]
    for result in results:
        claims = [claim for claim in result["claims"] if claim["holds"] is not None]
        asked = first_words(result["benchmark"])
        holding = f"{sum(claim['holds'] for claim in claims)} of {len(claims)}"
        rows.append(f"| {asked.replace('|', '/')} | {holding} | `python -m benchmarks.{result['benchmark']}` |")
    return "\n".join(rows)


def first_words(benchmark: str) -> str:
    """The first sentence of a benchmark's docstring, without the command."""
    text = ast.get_docstring(ast.parse((Path(__file__).parent / f"{benchmark}.py").read_text())) or ""
    paragraph = re.sub(r":? `*python -m .*", "", " ".join(text.split("\n\n")[0].split()))
    return re.split(r"(?<=\?) |\. ", paragraph)[0].rstrip(".")


def between_markers(page: str, text: str) -> str:
    """The page with this text between its markers."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{text}\n{END}{after}"


def pages(results: Sequence[Result]) -> dict[Path, str]:
    """Both pages as these results make them."""
    return {
        PAGE: between_markers(PAGE.read_text(), f"{origins(results)}\n\n{table(results)}"),
        README: between_markers(README.read_text(), summary(results)),
    }


def main() -> None:
    for path, text in pages(kept_results()).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
