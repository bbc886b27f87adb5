"""Latency predictors on public data: python -m benchmarks.predictor_public [--quick] [--json] [--data DIR]

The data folder has the layout of the project's shared data (help/, phone_gpu_kernels/, iitm_phones/, ...).
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.claims import Claim, Options, run_benchmark
from benchmarks.public_drift import drift_claims
from benchmarks.public_few_shot import fresh_splits, published_tasks
from benchmarks.public_kernels import convolution_claims, network_claims
from benchmarks.public_tables import table_claims, unit_claims


def measure(options: Options) -> Iterator[Claim]:
    """Every claim of the latency model that needs no device."""
    yield from published_tasks(options)
    yield from fresh_splits(options)
    yield from network_claims(options)
    yield from convolution_claims(options)
    yield from drift_claims(options)
    yield from table_claims(options)
    yield from unit_claims(options)


if __name__ == "__main__":
    run_benchmark("predictor_public", measure)
