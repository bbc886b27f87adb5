"""Latency prediction against the usual ways: python -m benchmarks.latency_baselines [--quick] [--json] [--data DIR]

Four recipes, and all see the very same measurements:

* multiply-accumulates alone: a * MACs + b, least squares on the calibration networks;
* the plain sum of the op table, which uses no calibration networks;
* nn-Meter's recipe: a random forest for each type of kernel on its raw configuration, and the plain sum of the
  kernels, without calibration networks (``benchmarks.baseline_forest``). nn-Meter itself measures thousands of kernels
  a type: here the forests see what the others see, which holds every op that is judged where a table is beside them;
* ours: an op predictor and what whole networks teach about their sum (``fit_predictor``, ``NetworkLatency``).

A fifth puts our affine correction behind nn-Meter's forests: what is left then is the op predictor's share of the lead.
All are judged on the same held-out whole networks: MAPE, share within 5 and 10 %, Spearman, the aim being that ours is
ahead. On this CPU under both runtimes the profile is that of ``benchmarks.predictor_local`` with the kernels of the
blocks beside them, and networks are summed from blocks and from kernels. Public data are three phone GPUs: once with a
table of all kernels, once with the kernels of four fifths of the networks, judged on the other fifth. ``--quick`` takes
fewer networks, draws and folds, a shorter timing plan, one phone, and on this CPU kernels alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.baselines_local import local_claims
from benchmarks.baselines_phones import phone_claims
from benchmarks.claims import Claim, Options, run_benchmark
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.public_files import Absent
from benchmarks.public_kernel_data import read_phone_gpus


def measure(options: Options) -> Iterator[Claim]:
    """This CPU, then the phones, then what of their files could not be used."""
    for runtime in ("onnxruntime", "litert"):
        yield from local_claims(runtime, quick=options.quick)
    gpus = read_phone_gpus(options.data or DEFAULT_FOLDER)
    yield from phone_claims(gpus, quick=options.quick)
    if not isinstance(gpus, Absent):
        yield from (left_out.claim() for left_out in gpus.left_out)


if __name__ == "__main__":
    run_benchmark("latency_baselines", measure)
