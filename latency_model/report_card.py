"""What a predictor's report card holds: errors on ops and on whole networks that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_model.calibration import NetworkTimings
from latency_model.evaluate import error_figures, flops_baseline, plain
from latency_model.features import FloatArray, op_columns, op_costs
from latency_model.op_timings import OpTimings
from latency_model.ops import OpSpec
from latency_model.predictors import LatencyPredictor, MeasuredFirstPredictor, PredictedLatency, RooflinePredictor
from latency_model.predictors.corrected import CorrectedPredictor

_WORST_COUNT = 10
_SIZES = ("smallest third", "middle third", "largest third")


def network_card(
    judged: NetworkTimings,
    fitted: NetworkTimings,
    predicted_ms: FloatArray,
    half_width_ms: FloatArray,
    confidence: float,
) -> dict[str, Any]:
    """Errors on whole networks, beside what multiply-accumulates alone would have said.

    The MACs baseline is fitted on ``fitted``, also where it is judged on the same networks: that flatters it.
    """
    found = PredictedLatency(predicted_ms, np.maximum(predicted_ms - half_width_ms, 0.0), predicted_ms + half_width_ms)
    baseline = flops_baseline(_macs(fitted.networks), fitted.latency_ms, _macs(judged.networks))
    names = [f"{len(ops)} ops, {_macs([ops])[0] / 1e6:.2f} M MACs" for ops in judged.networks]
    return {
        "networks": _figures(judged.latency_ms, found, confidence),
        "networks_flops_baseline": error_figures(judged.latency_ms, baseline).to_json(),
        "networks_by_size": _by_size(judged.latency_ms, found, confidence),
        "worst_networks": _worst(names, judged.latency_ms, found),
        "network_points": _points(judged.latency_ms, found),
    }


def calibrated_on_the_same(card: dict[str, Any]) -> dict[str, Any]:
    """The card of intervals that were calibrated on the networks that it holds: that these hold as many of all as they
    promise is no finding, while how they divide between small and large networks still is."""
    note = "the intervals were calibrated on these networks, so they hold that many of all by construction; networks "
    note += "that are held out, or measured later (`evaluate --on`), judge them"
    return card | {"networks": card["networks"] | {"coverage_band": None}, "coverage_note": note}


def op_card(predictor: LatencyPredictor, timings: OpTimings) -> dict[str, Any]:
    """Errors on single ops, each predicted by a fit without it; a reason where there are none.

    A table has none to show: it refuses what it did not measure. That the intervals of a kind hold is a finding only
    where the errors of all kinds made them: those of its own hold their share by construction, as does the whole.
    """
    regressor = predictor.regressor if isinstance(predictor, MeasuredFirstPredictor) else predictor
    if not isinstance(regressor, CorrectedPredictor | RooflinePredictor) or regressor.left_out is None:
        return {"ops_method": "a table is exact for what was measured and refuses the rest; nothing to judge"}
    found, own_kinds = regressor.left_out, regressor.intervals.by_kind
    macs = op_costs(op_columns(timings.ops)).macs
    kinds = np.array([op.kind for op in timings.ops])
    card = {
        "ops_method": f"cross-validation over {len(timings)} ops by {regressor.kind}, each predicted without it",
        "ops": _figures(timings.latency_ms, found, None),
        "ops_flops_baseline": error_figures(
            timings.latency_ms, flops_baseline(macs, timings.latency_ms, macs)
        ).to_json(),
        "ops_by_kind": {
            str(kind): _figures(
                timings.latency_ms[kinds == kind],
                _rows(found, kinds == kind),
                None if kind in own_kinds else regressor.confidence,
            )
            for kind in sorted(set(kinds))
        },
        "ops_by_size": _by_size(timings.latency_ms, found, regressor.confidence),
        "worst_ops": _worst([op.key for op in timings.ops], timings.latency_ms, found),
        "op_points": _points(timings.latency_ms, found),
    }
    if own_kinds:
        card["ops_coverage_note"] = (
            f"the intervals of {', '.join(own_kinds)} were calibrated on these very errors, each kind's on its own, so "
            "they hold their share by construction"
        )
    return card


def _macs(networks: Sequence[Sequence[OpSpec]]) -> FloatArray:
    return np.array([op_costs(op_columns(ops)).macs.sum() for ops in networks])


def _figures(measured_ms: FloatArray, found: PredictedLatency, confidence: float | None) -> dict[str, Any]:
    return error_figures(measured_ms, found.mean_ms, (found.low_ms, found.high_ms), confidence).to_json()


def _rows(found: PredictedLatency, rows: npt.NDArray[Any]) -> PredictedLatency:
    return PredictedLatency(found.mean_ms[rows], found.low_ms[rows], found.high_ms[rows])


def _by_size(measured_ms: FloatArray, found: PredictedLatency, confidence: float) -> dict[str, Any]:
    """By measured latency, in three parts of equal count; empty parts are left out."""
    parts = np.array_split(np.argsort(measured_ms), len(_SIZES))
    return {
        size: _figures(measured_ms[part], _rows(found, part), confidence)
        for size, part in zip(_SIZES, parts, strict=True)
        if len(part)
    }


def _worst(names: Sequence[str], measured_ms: FloatArray, found: PredictedLatency) -> list[dict[str, Any]]:
    error = found.mean_ms / measured_ms - 1.0
    order = np.argsort(-np.abs(error), kind="stable")[:_WORST_COUNT]
    return [
        {
            "name": names[int(row)],
            "measured_ms": float(measured_ms[row]),
            "predicted_ms": float(found.mean_ms[row]),
            "error": float(error[row]),
        }
        for row in order
    ]


def _points(measured_ms: FloatArray, found: PredictedLatency) -> dict[str, list[float]]:
    return {
        "measured_ms": plain(measured_ms),
        "predicted_ms": plain(found.mean_ms),
        "low_ms": plain(found.low_ms),
        "high_ms": plain(found.high_ms),
    }
