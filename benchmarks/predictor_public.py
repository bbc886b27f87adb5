"""Latency predictors on public data: python -m benchmarks.predictor_public [--quick] [--json] [--data DIR]

The data folder has the layout of the project's shared data (help/, phone_gpu_kernels/, iitm_phones/, ...).
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.claims import Claim, Options, run_benchmark
from benchmarks.public_few_shot import fresh_splits, published_tasks


def measure(options: Options) -> Iterator[Claim]:
    """Every claim of the latency model that needs no device."""
    yield from published_tasks(options)
    yield from fresh_splits(options)


if __name__ == "__main__":
    run_benchmark("predictor_public", measure)
