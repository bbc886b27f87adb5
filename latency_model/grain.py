"""Blocks or kernels: a network described by the ops that a predictor was fitted on."""

from __future__ import annotations

from collections.abc import Sequence

from latency_model.errors import MeasurementError, UnknownOpError
from latency_model.fusion import kernels_as_run, load_fusion_rules
from latency_model.fusion.rules import rules_file
from latency_model.ops import OpSpec
from latency_model.predictors.fitted_on import measured_ops
from latency_model.predictors.protocol import LatencyPredictor


def kernels_run_by(runtime: str, ops: Sequence[OpSpec]) -> tuple[OpSpec, ...]:
    """The kernels that a runtime runs the ops as.

    Raises:
        LatencyModelError: nobody observed what this runtime fuses.
    """
    return tuple(kernel for op in ops for kernel in kernels_as_run(op, load_fusion_rules(runtime, op.dtype)))


def described_for(predictor: LatencyPredictor, ops: Sequence[OpSpec], runtime: str) -> tuple[OpSpec, ...]:
    """The ops, broken into the kernels that the runtime runs them as where the predictor does not know them, or where
    it only guesses and all of these kernels were measured (an activation that is not fused is one of them: a regressor
    would speak of a convolution with it as of one without).

    What is still unknown then is for the predictor to refuse.
    """
    measured = set(measured_ops(predictor))
    unknown: set[OpSpec] = set()
    try:
        predictor.predict_ms(ops)
    except UnknownOpError as error:
        unknown = set(error.unknown)
        if not all(rules_file(runtime, op.dtype).exists() for op in unknown):
            return tuple(ops)
    described: list[OpSpec] = []
    for op in ops:
        kernels: tuple[OpSpec, ...] = (op,)
        if op not in measured and rules_file(runtime, op.dtype).exists():
            kernels = kernels_run_by(runtime, [op])
        is_broken = op in unknown or (len(kernels) > 1 and measured.issuperset(kernels))
        described.extend(kernels if is_broken else (op,))
    return tuple(described)


def check_one_grain(ops: Sequence[OpSpec], runtime: str) -> None:
    """Refuse ops, each measured alone, where blocks stand beside the very kernels that they run as.

    Whole networks would be described by blocks wherever one is known, and what they teach (how much less an op costs
    inside a network than alone) differs between the grains: prices by kernels would then be wrong, with intervals
    that were calibrated on blocks. A kernel that a space offers by itself is no mix, so all kernels of a block count.

    Raises:
        MeasurementError: the measurements mix the grains.
    """
    measured = set(ops)
    for op in measured:
        if not rules_file(runtime, op.dtype).exists():
            continue
        kernels = set(kernels_run_by(runtime, [op]))
        if len(kernels) > 1 and kernels <= measured:
            raise MeasurementError(
                f"Blocks and kernels are mixed: {op.key} was measured alone, and so was every one of the "
                f"{len(kernels)} kernels that {runtime} runs it as. A predictor adds up either blocks or kernels: "
                "keep a measurements file for each grain (`campaign --grain blocks` or `kernels`, each with its own "
                "--out) and fit one predictor on each."
            )
