"""search_quality on twice the images: ``python -m benchmarks.search_quality_double [--quick] [--json] [--data DIR]``.

20,000 images and twice the steps: where a uniform supernet, too, is trained well enough to be trusted, how far is ours
ahead? Everything else is as in ``benchmarks.search_quality``, whose predictor of this machine it shares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from benchmarks.claims import Claim, Options, run_benchmark
from benchmarks.public_data import DEFAULT_FOLDER
from benchmarks.search_quality import FULL, QUICK, measure_plan

DOUBLE = dataclasses.replace(FULL, name="double", image_count=2 * FULL.image_count, seeds=(0, 1, 2))
QUICK_DOUBLE = dataclasses.replace(QUICK, name="quick_double", image_count=2 * QUICK.image_count)


def measure(options: Options) -> Iterator[Claim]:
    return measure_plan(QUICK_DOUBLE if options.quick else DOUBLE, options.data or DEFAULT_FOLDER)


if __name__ == "__main__":
    run_benchmark("search_quality_double", measure)
