"""The one language of all benchmarks: claims with an aim, printed for people and, with --json, for programs.

A benchmark is a module with a function that yields claims::

    def measure(options: Options) -> Iterator[Claim]:
        yield at_most("full recompute, peak over one path", 1.07, 1.15, unit="ratio", spread=(1.05, 1.09))

    if __name__ == "__main__":
        run_benchmark("memory", measure)

``python -m benchmarks.memory [--quick] [--json] [--data DIR]`` then prints each claim as it is settled. With --json
the last line of standard output is one JSON object. The exit code says that the benchmark ran, not what it found;
public data that are not there are a claim without a figure.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PUBLIC_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Beside the checkout; ``--data`` names another folder."""
NO_ERROR = "no error"
"""The aim of a claim that tells of an error which took the rest of a section with it."""
NO_AIM = "none"
"""Of a fact."""
_LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "ai-edge-litert", "scikit-learn", "xgboost", "proxyless")


@dataclass(frozen=True, kw_only=True)
class Options:
    """``quick`` asks for a smaller run of the same kind; ``data`` replaces a benchmark's public data folder."""

    quick: bool = False
    data: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One figure beside its aim. ``value`` is None where it could not be measured, and ``note`` then says why; a note
    may also hold the baseline or the published figure. ``holds`` is None of a fact, which has no aim."""

    claim: str
    value: float | None
    unit: str
    aim: str
    holds: bool | None
    spread: tuple[float, float] | None = None
    note: str | None = None

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.4g} {self.unit}"
        spread = "" if self.spread is None else f" ({self.spread[0]:.4g} to {self.spread[1]:.4g})"
        note = "" if self.note is None else f"; {self.note}"
        if self.holds is None:
            return f"found: {self.claim}: {value}{spread}{note}"
        return f"{'holds' if self.holds else 'FALLS SHORT'}: {self.claim}: {value}{spread}, aim {self.aim}{note}"


def at_most(
    claim: str,
    value: float,
    limit: float,
    *,
    unit: str,
    spread: tuple[float, float] | None = None,
    note: str | None = None,
) -> Claim:
    """A figure that is to stay at or below ``limit``."""
    return Claim(
        claim=claim, value=value, unit=unit, aim=f"<= {limit:g}", holds=value <= limit, spread=spread, note=note
    )


def at_least(
    claim: str,
    value: float,
    limit: float,
    *,
    unit: str,
    spread: tuple[float, float] | None = None,
    note: str | None = None,
) -> Claim:
    """A figure that is to reach ``limit``."""
    return Claim(
        claim=claim, value=value, unit=unit, aim=f">= {limit:g}", holds=value >= limit, spread=spread, note=note
    )


def not_measured(claim: str, aim: str, why: str) -> Claim:
    """A figure that could not be had here. It does not hold."""
    return Claim(claim=claim, value=None, unit="", aim=aim, holds=False, note=why)


def fact(
    claim: str, value: float, *, unit: str, spread: tuple[float, float] | None = None, note: str | None = None
) -> Claim:
    """A figure that is told beside the others and could not fall short of anything."""
    return Claim(claim=claim, value=value, unit=unit, aim=NO_AIM, holds=None, spread=spread, note=note)


def run_benchmark(name: str, measure: Callable[[Options], Iterator[Claim]], argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="a smaller run of the same kind")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--data", type=Path, help="another folder of the same layout as the public data")
    arguments = parser.parse_args(argv)
    options = Options(quick=arguments.quick, data=arguments.data)
    started, load = time.monotonic(), os.getloadavg()[0]
    claims = []
    for claim in _with_what_is_missing(measure(options), options):
        claims.append(claim)
        print(claim, flush=True)
    if arguments.json:
        report = {
            "benchmark": name,
            "claims": [
                {key: value for key, value in asdict(claim).items() if value is not None or key in ("value", "holds")}
                for claim in claims
            ],
            "environment": {**environment(), "load_before": round(load, 1)},
            "seconds": round(time.monotonic() - started, 1),
        }
        print(json.dumps(report))


def _with_what_is_missing(claims: Iterator[Claim], options: Options) -> Iterator[Claim]:
    """The claims; public data that are not there are one without a figure, and the cause of a probe's end is shown."""
    folder = options.data or PUBLIC_DATA
    try:
        yield from claims
    except FileNotFoundError as error:
        if error.filename is None or not Path(error.filename).is_relative_to(folder):
            raise
        missing = Path(error.filename).relative_to(folder)
        yield not_measured("all that is still to come", f"{missing} is there", f"it is not in {folder.name}/")
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        raise


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": present_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _cpuinfo("model name") or platform.processor(),
        "vectors": _widest_vectors(_cpuinfo("flags").split()),
        "core_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": dict(_installed_versions()),
    }


def _cpuinfo(field: str) -> str:
    """What Linux says of the first core; "" elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return ""


def _widest_vectors(flags: Sequence[str]) -> str:
    """A processor's name alone does not tell machines of a cloud apart, whose convolutions differ by a factor."""
    for name in ("avx512_vnni", "avx512f", "avx_vnni", "avx2"):
        if name in flags:
            return name
    return "unknown"


def present_commit() -> str:
    """Of the code that measured; ``-dirty`` where it was changed since (what a benchmark writes is no code)."""
    commit = _git("rev-parse", "--short", "HEAD")
    written = [f":(exclude){path}" for path in ("benchmarks/results", "benchmarks/README.md", "README.md")]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return commit + ("-dirty" if changed else "") or "unknown"


def _git(*words: str) -> str:
    top = Path(__file__).parents[1]
    try:
        done = subprocess.run(["git", *words], cwd=top, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _installed_versions() -> Iterator[tuple[str, str]]:
    for library in _LIBRARIES:
        try:
            yield library, metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
