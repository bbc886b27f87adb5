"""Published block tables, and phones of one model that are two devices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.claims import Claim, Options, at_most, not_measured
from benchmarks.public_data import DEFAULT_FOLDER
from latency_model.errors import LatencyModelError
from latency_model.features import FloatArray
from latency_model.op_timings import OpTimings
from latency_model.predictors import XGBoostPredictor
from latency_model.predictors.regression import cross_validated_ms
from latency_model.readers import read_proxyless_config, read_yaml_table

_LOWEST_MS, _HIGHEST_MS = 78.0, 90.0
_LEAST_OF_A_KIND = 3


def table_claims(options: Options) -> Iterator[Claim]:
    """Leave-one-out error of a regressor on each table; the price of the published network on the Pixel 1."""
    folder = options.data or DEFAULT_FOLDER
    paths = sorted(folder.glob("*/*.yaml"))
    if not paths:
        yield not_measured("block tables, leave-one-out MAPE", "<= 0.08", f"no YAML tables under {folder}")
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        try:
            table = read_yaml_table(path)
        except LatencyModelError as error:
            yield not_measured(f"{name}, leave-one-out MAPE", "<= 0.08", str(error))
            continue
        fold_count = min(len(table), 12) if options.quick else len(table)
        left_out = cross_validated_ms(table, XGBoostPredictor.fit_function, 0, fold_count)
        of_kind = Counter(op.kind for op in table.ops)
        # A kind that stands once in the table cannot be predicted from the others.
        judged = np.array([of_kind[op.kind] >= _LEAST_OF_A_KIND for op in table.ops])
        error_of = np.where(judged, np.abs(left_out / table.latency_ms - 1), 0.0)
        yield at_most(
            f"{name}, leave-one-out MAPE",
            float(error_of[judged].mean()),
            0.08,
            unit="share",
            note=f"{judged.sum()} of {len(table)} blocks (kinds seen {_LEAST_OF_A_KIND} times or more), "
            f"{fold_count} folds; worst {table.ops[int(error_of.argmax())].kind} "
            f"{error_of.max():.0%}",
        )
        for config in sorted(path.parent.glob("*.config")):
            yield _price(table, config)


def _price(table: OpTimings, config: Path) -> Claim:
    network = read_proxyless_config(config)
    known = dict(zip(table.ops, table.latency_ms, strict=True))
    kinds = {op.kind for op in table.ops}
    priced = [op for op in network.ops if op.kind in kinds]
    missing = [op for op in priced if op not in known]
    total = float(sum(known[op] for op in priced if op in known))
    if missing:
        total += float(XGBoostPredictor.fit(table).predict_ms(missing).mean_ms.sum())
    return Claim(
        claim=f"{config.name} priced by its table",
        value=total,
        unit="ms",
        aim=f"{_LOWEST_MS:g} to {_HIGHEST_MS:g}",
        holds=_LOWEST_MS <= total <= _HIGHEST_MS,
        note=f"{len(missing)} of {len(priced)} blocks predicted; the paper measured 78 ms: a plain sum is high",
    )


def unit_claims(options: Options) -> Iterator[Claim]:
    """Another unit of a known phone model: one factor from three networks, against taking it for the same."""
    folder = (options.data or DEFAULT_FOLDER) / "iitm_phones" / "cpu"
    latency_ms = {path.stem: _medians(path) for path in sorted(folder.glob("*.txt"))}
    models: dict[str, list[str]] = {}
    for phone in latency_ms:
        models.setdefault(re.sub(r"_\d+$", "", phone), []).append(phone)
    pairs = [(a, b) for units in models.values() for a in units for b in units if a != b]
    if not pairs:
        yield not_measured("another unit of one model, MAPE over uncorrected", "<= 1", f"no two units in {folder}")
        return
    before, after = [], []
    for known, new in pairs:
        count = min(len(latency_ms[known]), len(latency_ms[new]))
        source, truth = latency_ms[known][:count], latency_ms[new][:count]
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(count)
            factor = float(np.median(truth[order[:3]] / source[order[:3]]))
            rest = order[3:]
            before.append(float(np.mean(np.abs(source[rest] / truth[rest] - 1))))
            after.append(float(np.mean(np.abs(factor * source[rest] / truth[rest] - 1))))
    yield at_most(
        "another unit of one model, MAPE with three networks over uncorrected",
        float(np.mean(after) / np.mean(before)),
        1.0,
        unit="ratio",
        note=f"{len(pairs)} ordered pairs; {np.mean(before):.1%} -> {np.mean(after):.1%}",
    )


def _medians(path: Path) -> FloatArray:
    """(networks,) median run of each network, the first run left out as a warm-up."""
    rows = [np.array(line.split(","), dtype=np.float64) for line in path.read_text().splitlines() if line.strip()]
    return np.array([np.median(row[1:]) for row in rows])
