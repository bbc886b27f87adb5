"""Blocks or kernels: a network described by the ops that a predictor was fitted on."""

from __future__ import annotations

from collections.abc import Sequence

from latency_model.errors import UnknownOpError
from latency_model.fusion import kernels_as_run, load_fusion_rules
from latency_model.fusion.rules import rules_file
from latency_model.ops import OpSpec
from latency_model.predictors.protocol import LatencyPredictor


def kernels_run_by(runtime: str, ops: Sequence[OpSpec]) -> tuple[OpSpec, ...]:
    """The kernels that a runtime runs the ops as.

    Raises:
        LatencyModelError: nobody observed what this runtime fuses.
    """
    return tuple(kernel for op in ops for kernel in kernels_as_run(op, load_fusion_rules(runtime, op.dtype)))


def described_for(predictor: LatencyPredictor, ops: Sequence[OpSpec], runtime: str) -> tuple[OpSpec, ...]:
    """The ops, those that the predictor does not know broken into the kernels that the runtime runs them as.

    What is still unknown then is for the predictor to refuse.
    """
    try:
        predictor.predict_ms(ops)
    except UnknownOpError as error:
        unknown = set(error.unknown)
    else:
        return tuple(ops)
    if not all(rules_file(runtime, op.dtype).exists() for op in unknown):
        return tuple(ops)
    described: list[OpSpec] = []
    for op in ops:
        described.extend(kernels_run_by(runtime, [op]) if op in unknown else (op,))
    return tuple(described)
