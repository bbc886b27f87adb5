"""Ops as JSON: what networks, measurements and saved predictors hold of them."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from latency_model.ops import OpSpec, OpSpecError

_KINDS: dict[str, type[OpSpec]] = {cls.kind: cls for cls in get_args(OpSpec)}


def op_to_json(op: OpSpec) -> dict[str, Any]:
    """The op as plain JSON; ``op_from_json`` reads it back."""
    return {"op": op.kind, **dataclasses.asdict(op)}


def op_from_json(data: dict[str, Any]) -> OpSpec:
    """Read one op.

    Raises:
        OpSpecError: unknown kind, unknown or missing field, or a value out of range.
    """
    fields = dict(data)
    kind = fields.pop("op", None)
    if kind not in _KINDS:
        raise OpSpecError(f"Unknown op {kind!r}; this version knows {', '.join(sorted(_KINDS))}.")
    cls = _KINDS[kind]
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(fields) - known):
        raise OpSpecError(f"{kind}: unknown field {unknown[0]!r}; it has {', '.join(sorted(known))}.")
    try:
        return cls(**fields)
    except TypeError as error:
        raise OpSpecError(f"{kind}: {error}") from error
