"""What can go wrong between a set of timings and a predicted latency, in a user's words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from latency_model.ops import OpSpec
from profiler_agent.errors import ProxylessError


class LatencyModelError(ProxylessError, ValueError):
    """A mistake in measurements, predictors or what was asked of them."""


class LoweringError(LatencyModelError):
    """A network that cannot be written as a model file, or weights that do not fit it."""


class ModelFileError(ProxylessError, OSError):
    """A model file could not be written: no space, or no such folder. Nothing half-written stays behind."""

    exit_code = 1


class UnsupportedOpsError(LatencyModelError):
    """A foreign network holds operators that our specs cannot express. Carries one line for each, by name."""

    def __init__(self, source: str, unsupported: Sequence[str]) -> None:
        self.unsupported = tuple(unsupported)
        lines = "\n".join(f"  {line}" for line in self.unsupported)
        super().__init__(
            f"{source}: {len(self.unsupported)} operator(s) cannot be expressed as op specs:\n{lines}\n"
            "Their latency is not zero and would be missing. Replace them in the network, or cut it before and after "
            "them and give the parts."
        )


class UnknownOpError(LatencyModelError):
    """A predictor cannot speak of an op. Carries the ops it does not know."""

    def __init__(self, unknown: Sequence[OpSpec], known: Iterable[OpSpec], why: str) -> None:
        self.unknown = tuple(unknown)
        self.known = tuple(known)
        self.why = why
        first = self.unknown[0]
        nearest = nearest_op(first, self.known)
        more = f" and {len(self.unknown) - 1} more" if len(self.unknown) > 1 else ""
        hint = f" The nearest that is known: {nearest.key}." if nearest is not None else ""
        super().__init__(f"No latency for {first.key}{more}: {why}{hint}")


class MeasurementError(LatencyModelError):
    """A measurement file or a set of measurements that cannot be used."""


class MixedMeasurementsError(MeasurementError):
    """Measurements of several devices, runtimes or thread counts in one set."""


class SchemaError(LatencyModelError):
    """A file written in a format that this version does not read."""


class TooFewSamplesError(LatencyModelError):
    """Not enough measurements for what was asked."""


class PredictorMismatchError(LatencyModelError):
    """A predictor of another device, runtime, thread count or space."""


def nearest_op(op: OpSpec, known: Iterable[OpSpec]) -> OpSpec | None:
    """The known op of the same kind that differs in the fewest fields, else the one whose key reads most alike."""
    candidates = list(known)
    if not candidates:
        return None
    same_kind = [other for other in candidates if other.kind == op.kind]
    if same_kind:
        fields = vars(op)
        return min(same_kind, key=lambda other: _field_distance(fields, vars(other)))
    keys = {other.key: other for other in candidates}
    closest = difflib.get_close_matches(op.key, keys, n=1, cutoff=0.0)
    return keys[closest[0]]


def _field_distance(wanted: Mapping[str, object], other: Mapping[str, object]) -> tuple[int, float]:
    differing = [name for name, value in wanted.items() if other[name] != value]
    size = 0.0
    for name in differing:
        mine, theirs = wanted[name], other[name]
        if isinstance(mine, int) and isinstance(theirs, int):
            size += abs(mine - theirs) / max(mine, theirs, 1)
        else:
            size += 1.0
    return len(differing), size
