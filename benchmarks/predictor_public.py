"""Latency predictors on public data: python -m benchmarks.predictor_public [--quick] [--json] [--data DIR]

The data folder has the layout of the project's shared data (help/, phone_gpu_kernels/, iitm_phones/, ...). Another
folder may hold other devices, tables and networks: what is there is judged, whatever it is called; what the issue names
and is not there is said by path; and of each file that cannot be read in full there is a row "data FILE" that says
which lines or labels were left out.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from benchmarks.claims import NO_ERROR, Claim, Options, not_measured, run_benchmark
from benchmarks.public_convolutions import convolution_claims
from benchmarks.public_data import DEFAULT_FOLDER, SPACES, read_help_space
from benchmarks.public_drift import drift_claims
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import read_phone_gpus
from benchmarks.public_kernels import network_claims
from benchmarks.public_splits import fresh_splits, unnamed_devices
from benchmarks.public_tables import table_claims
from benchmarks.public_tasks import published_tasks
from benchmarks.public_units import read_phone_runs, unit_claims


def measure(options: Options) -> Iterator[Claim]:
    """Every claim of the latency model that needs no device."""
    folder = options.data or DEFAULT_FOLDER
    spaces = {name: read_help_space(folder, name) for name in SPACES}
    gpus = read_phone_gpus(folder)
    phones = read_phone_runs(folder)
    for data in (*spaces.values(), gpus, phones):
        if not isinstance(data, Absent):
            yield from (left_out.claim() for left_out in data.left_out)
    for title, claims in (
        ("few-shot, published tasks", published_tasks(spaces, options)),
        ("few-shot, devices of no published task", unnamed_devices(spaces, options)),
        ("fresh splits", fresh_splits(spaces, options)),
        ("phone GPUs, kernels to networks", network_claims(gpus, options)),
        ("unseen convolutions", convolution_claims(gpus, options)),
        ("drift", drift_claims(spaces["fbnet"])),
        ("block tables", table_claims(folder, options)),
        ("another unit of one model", unit_claims(phones)),
    ):
        yield from _to_the_end(title, claims)


def _to_the_end(title: str, claims: Iterator[Claim]) -> Iterator[Claim]:
    """Data that nobody thought of must not take the other sections' figures with it."""
    try:
        yield from claims
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        traceback.print_exc()
        yield not_measured(f"{title}: all that was still to come", NO_ERROR, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    run_benchmark("predictor_public", measure)
