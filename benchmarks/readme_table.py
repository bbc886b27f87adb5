"""Writes the table of kept benchmark results into the README, between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- results -->", "<!-- end of results -->"


def table(results: list[dict[str, Any]]) -> str:
    """One row per claim, with the command that prints it."""
    rows = ["| what | found | aim | holds | command |", "|---|---|---|---|---|"]
    for result in results:
        for claim in result["claims"]:
            found = "not measured" if claim["value"] is None else f"{claim['value']:.4g} {claim['unit']}".strip()
            if spread := claim.get("spread"):
                found += f" ({spread[0]:.4g} to {spread[1]:.4g})"
            holds = "yes" if claim["holds"] else "**no**"
            what = claim["claim"].replace("|", "/")
            rows.append(
                f"| {what} | {found} | {claim['aim']} | {holds} | `python -m benchmarks.{result['benchmark']}` |"
            )
    return "\n".join(rows)


def main() -> None:
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    before, _, rest = README.read_text().partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{table(results)}\n{END}{after}")


if __name__ == "__main__":
    main()
