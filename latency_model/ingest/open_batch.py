"""An exported program whose batch was left open, at one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from latency_model.errors import LatencyModelError


def fix_batch(program: torch.export.ExportedProgram, batch: int) -> None:
    """Give every value of the program's graph the shape that it has at ``batch``; where nothing is open, all stays.

    Else shapes would be those of the example that the program was exported with, and torch takes none of one image
    for an open batch.

    Raises:
        LatencyModelError: another dimension of an input than the first is open.
    """
    sizes = {symbol: batch for node in _inputs(program) for symbol in _open_batch(node)}
    if sizes:
        for node in program.graph.nodes:
            node.meta["val"] = _fixed(node.meta.get("val"), sizes)


def _inputs(program: torch.export.ExportedProgram) -> list[fx.Node]:
    names = set(program.graph_signature.user_inputs)
    fed = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [node for node in fed if isinstance(node.meta.get("val"), Tensor)]


def _open_batch(node: fx.Node) -> list[Any]:
    shape = node.meta["val"].shape
    open_sides = {axis: side.node.expr for axis, side in enumerate(shape) if isinstance(side, torch.SymInt)}
    if any(axis > 0 or not side.is_Symbol for axis, side in open_sides.items()):
        raise LatencyModelError(
            f"Input {node.name!r} has the shape ({', '.join(map(str, shape))}): only the first dimension may be open. "
            "Export the program with a fixed image size."
        )
    return list(open_sides.values())


def _fixed(value: Any, sizes: dict[Any, int]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_fixed(one, sizes) for one in value)
    if not isinstance(value, Tensor) or not any(isinstance(side, torch.SymInt) for side in value.shape):
        return value
    shape = [int(side.node.expr.subs(sizes)) if isinstance(side, torch.SymInt) else side for side in value.shape]
    return torch.empty(shape, dtype=value.dtype, device="meta")
