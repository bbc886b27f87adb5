"""What one node of an exported torch graph says of itself."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from latency_model.ops import Shape


def sources_of(node: fx.Node) -> list[str]:
    """The values that a node reads, each as often as it reads it."""
    names: list[str] = []
    fx.node.map_arg((node.args, node.kwargs), lambda source: names.append(source.name))
    return names


def operator_of(node: fx.Node) -> str:
    """ "hardtanh" for aten.hardtanh_.default: in place or not costs the same."""
    if node.target is operator.getitem:
        return "getitem"
    parts = str(node.target).split(".")
    return (parts[1] if len(parts) > 1 else parts[0]).removesuffix("_")


def name_of(node: fx.Node) -> str:
    """The path of the submodule that the node stems from, and the node's own name."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = stack[-1][0] if stack else ""
    return f"{path}:{node.name}" if path else node.name


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Arguments by the names in the operator's schema."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    arguments: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    if "self" in arguments:
        arguments["input"] = arguments.pop("self")
    return arguments


def value_of(node: fx.Node) -> Any:
    """What a node gives, of several values the first."""
    value = node.meta.get("val")
    return value[0] if isinstance(value, tuple | list) and value else value


def shape_of(node: Any) -> Shape:
    return tuple(int(side) for side in value_of(node).shape)
