"""Runs every benchmark, one process each, and keeps what the full ones print in benchmarks/results/.

``python -m benchmarks [--quick] [--only NAME ...]``. The README's table is made from the kept results
(``python -m benchmarks.readme_table``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
LIMIT_S, QUICK_LIMIT_S = 5400, 240


def benchmark_names() -> list[str]:
    """The modules that a person can run as a benchmark."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\n    run_benchmark(" in path.read_text())


def run_one(name: str, *, quick: bool) -> bool:
    """Run one benchmark to its end; True when it ran, whatever it found."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *(["--quick"] if quick else [])]
    print(f"== {name}", flush=True)
    try:
        done = subprocess.run(
            command,
            cwd=FOLDER.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=QUICK_LIMIT_S if quick else LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        print(f"{name} did not end in time", flush=True)
        return False
    lines = done.stdout.splitlines()
    print("\n".join(lines[:-1]), flush=True)
    if done.returncode != 0 or not lines:
        print(f"{name} ended with {done.returncode}", flush=True)
        return False
    report = json.loads(lines[-1])
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="each benchmark in its short form; keeps no results")
    parser.add_argument("--only", nargs="*", choices=benchmark_names(), help="these alone")
    arguments = parser.parse_args()
    ran = {name: run_one(name, quick=arguments.quick) for name in arguments.only or benchmark_names()}
    failed = [name for name, is_done in ran.items() if not is_done]
    print(f"{len(ran) - len(failed)} benchmarks ran" + (f"; these did not: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
