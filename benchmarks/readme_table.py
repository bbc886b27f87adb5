"""Writes the kept benchmark results into the README, between its two markers: what ran where and when, and the claims.

``python -m benchmarks.readme_table``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
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
    """One row per claim, with the command that prints it. What was not measured says why, or what it is on paper."""
    rows = ["| what | found | aim | holds | command |", "|---|---|---|---|---|"]
    for result in results:
        for claim in result["claims"]:
            if claim["value"] is None:
                found = f"not measured: {claim['note']}"
            else:
                found = f"{claim['value']:.4g} {claim['unit']}".strip()
            if spread := claim.get("spread"):
                found += f" ({spread[0]:.4g} to {spread[1]:.4g})"
            holds = "yes" if claim["holds"] else "**no**"
            cells = [claim["claim"], found, claim["aim"], holds, f"`python -m benchmarks.{result['benchmark']}`"]
            rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)


def with_results(readme: str, results: Sequence[Result]) -> str:
    """The README with these results between its markers."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{origins(results)}\n\n{table(results)}\n{END}{after}"


def main() -> None:
    README.write_text(with_results(README.read_text(), kept_results()))


if __name__ == "__main__":
    main()
