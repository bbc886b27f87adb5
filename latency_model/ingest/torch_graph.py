"""A torch module as primitives, by torch.export."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from latency_model.errors import LatencyModelError
from latency_model.ingest.primitives import (
    AddScalar,
    ChannelConstants,
    Multiply,
    MultiplyScalar,
    Node,
    Primitive,
    Unsupported,
    View,
    Window,
    constant_primitive,
    conv_primitive,
    global_average_primitive,
    image_fields,
    linear_primitive,
    pad_primitive,
    pool_primitive,
)
from latency_model.ingest.torch_dtype import dtype_of_program
from latency_model.ops import Activation, ActivationSpec, AddSpec, Dtype, PoolKind, Shape

_SPATIAL_AXES = {2, 3}

_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "relu6": "relu6",
    "hardswish": "hswish",
    "hardsigmoid": "hsigmoid",
    "sigmoid": "sigmoid",
    "silu": "swish",
}
_VIEWS = {
    "flatten",
    "view",
    "reshape",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "clone",
    "detach",
    "alias",
    "identity",
    "getitem",
    "lift_fresh_copy",
}


def torch_primitives(module: nn.Module, example_inputs: Sequence[Tensor]) -> tuple[list[Node], list[str]]:
    """Nodes and graph outputs.

    Raises:
        LatencyModelError: the module is in training mode, or torch cannot export it.
    """
    if module.training:
        raise LatencyModelError(f"{type(module).__name__} is in training mode: call its eval() first.")
    try:
        program = torch.export.export(module, tuple(example_inputs))
    except (RuntimeError, TypeError, ValueError) as error:
        raise LatencyModelError(
            f"torch.export cannot take {type(module).__name__}: {str(error).strip()[:600]}\n"
            "Check the shapes of the example inputs, and that forward() has no control flow on values."
        ) from error
    return program_primitives(program)


def program_primitives(program: torch.export.ExportedProgram) -> tuple[list[Node], list[str]]:
    """Nodes and graph outputs of an exported program."""
    if any(_operator(node).startswith("wrap_with_") for node in program.graph.nodes if node.op == "call_function"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns about torch
            program = program.run_decompositions({})  # puts in line what stands under torch.no_grad() and its like
    reader = _Reader(program)
    return reader.nodes, [str(name) for name in program.graph_signature.user_outputs]


class _Reader:
    """Walks over the exported graph once. What is computed from parameters alone counts as a constant."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self._dtype = dtype_of_program(program)
        self._activations = set(program.graph_signature.user_inputs)
        self.nodes: list[Node] = []
        for node in program.graph.nodes:
            if node.op == "call_function":
                self._read(node)

    def _read(self, node: fx.Node) -> None:
        inputs = tuple(name for name in _sources(node) if name in self._activations)
        if not inputs or not isinstance(_value(node), Tensor):  # constants, sizes, or a check that computes nothing
            return
        self._activations.add(node.name)
        primitive = self._primitive(node)
        self.nodes.append(Node(name=_name(node), primitive=primitive, inputs=inputs, output=node.name))

    def _primitive(self, node: fx.Node) -> Primitive:
        name = _operator(node)
        if name in _VIEWS:
            return View()
        if name in _ACTIVATIONS:
            return _activation(node, _ACTIVATIONS[name], self._dtype)
        handler = _HANDLERS.get(name)
        if handler is None:
            return Unsupported(operator=str(node.target), why="no op spec stands for it")
        return handler(self, node)

    def clamp(self, node: fx.Node) -> Primitive:
        low, high = (*node.args[1:3], None, None)[:2]
        if _operator(node) == "hardtanh":
            low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
        if (low, high) == (0, 6):
            return _activation(node, "relu6", self._dtype)
        if low == 0 and high is None:
            return _activation(node, "relu", self._dtype)
        return Unsupported(operator=str(node.target), why=f"limits {low} and {high} are none of relu and relu6")

    def conv(self, node: fx.Node) -> Primitive:
        arguments = _arguments(node)
        if arguments.get("transposed", False):
            return Unsupported(operator=str(node.target), why="a transposed convolution")
        if not self._is_constant(arguments["weight"]):
            return Unsupported(operator=str(node.target), why="its weight is computed from the input")
        weight = _shape(arguments["weight"])
        rank = len(weight) - 2
        window = Window(
            operator=str(node.target),
            kernel=weight[2:],
            strides=_pair(arguments.get("stride"), rank),
            dilations=_pair(arguments.get("dilation"), rank),
        )
        x = arguments.get("input")
        return conv_primitive(window, _shape(x), _shape(node), groups=arguments.get("groups", 1), dtype=self._dtype)

    def linear(self, node: fx.Node) -> Primitive:
        return self._linear(node, *node.args[:2])

    def addmm(self, node: fx.Node) -> Primitive:
        if not self._is_constant(node.args[0]):
            return Unsupported(operator=str(node.target), why="it adds an activation")
        return self._linear(node, *node.args[1:3])

    def _linear(self, node: fx.Node, x: Any, weight: Any) -> Primitive:
        if not self._is_constant(weight):
            return Unsupported(operator=str(node.target), why="a product of two activations")
        return linear_primitive(str(node.target), _shape(x), _shape(node), self._dtype)

    def batch_norm(self, node: fx.Node) -> Primitive:
        if _arguments(node).get("training", False):
            return Unsupported(operator=str(node.target), why="in training mode: call eval() on the module")
        return ChannelConstants(_shape(node))

    def dropout(self, node: fx.Node) -> Primitive:
        if _arguments(node)["train"]:
            return Unsupported(operator=str(node.target), why="in training mode: call eval() on the module")
        return View()

    def pool(self, node: fx.Node, pool: PoolKind) -> Primitive:
        arguments = _arguments(node)
        kernel = _pair(arguments["kernel_size"], 2)
        strides = _pair(arguments.get("stride") or kernel, 2)
        dilations = _pair(arguments.get("dilation"), 2)
        is_padded = any(_pair(arguments.get("padding", [0]), 2))
        window = Window(
            operator=str(node.target), kernel=kernel, strides=strides, dilations=dilations, is_padded=is_padded
        )
        return pool_primitive(window, _shape(node.args[0]), _shape(node), pool=pool, dtype=self._dtype)

    def adaptive_pool(self, node: fx.Node) -> Primitive:
        if _shape(node) == _shape(node.args[0]):
            return View()
        if _shape(node)[2:] != (1, 1):
            return Unsupported(operator=str(node.target), why=f"to {_shape(node)[2:]}, not to one pixel")
        return global_average_primitive(str(node.target), _shape(node.args[0]), self._dtype)

    def mean(self, node: fx.Node) -> Primitive:
        shape = _shape(node.args[0])
        axes = node.args[1] if len(node.args) > 1 else None
        if not isinstance(axes, Sequence) or {int(str(axis)) % len(shape) for axis in axes} != _SPATIAL_AXES:
            return Unsupported(operator=str(node.target), why=f"over the axes {axes}, not over all pixels")
        return global_average_primitive(str(node.target), shape, self._dtype)

    def pad(self, node: fx.Node) -> Primitive:
        if (mode := _arguments(node).get("mode", "constant")) != "constant":
            return Unsupported(operator=str(node.target), why=f"its mode is {mode!r}, not 'constant'")
        return pad_primitive(str(node.target), _shape(node.args[0]), _shape(node), self._dtype)

    def add(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        sign = 1 if _operator(node) == "add" else -1
        if isinstance(right, int | float):
            return AddScalar(sign * right)
        if self._is_constant(left) or self._is_constant(right):
            return self._with_constant(node)
        image = image_fields(_shape(left), self._dtype)
        if sign == 1 and _shape(left) == _shape(right) and image is not None:
            return AddSpec(**image)
        return Unsupported(operator=str(node.target), why=f"of {_shape(left)} and {_shape(right)}")

    def multiply(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        is_product = _operator(node) == "mul"
        if isinstance(right, int | float):
            return MultiplyScalar(right if is_product else 1 / right)
        if self._is_constant(right) or (is_product and self._is_constant(left)):
            return self._with_constant(node)
        return Multiply() if is_product else Unsupported(operator=str(node.target), why="a quotient of activations")

    def _with_constant(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        activation, constant = (right, left) if self._is_constant(left) else (left, right)
        return constant_primitive(str(node.target), _shape(activation), _shape(constant))

    def _is_constant(self, argument: Any) -> bool:
        return isinstance(argument, fx.Node) and argument.name not in self._activations


_HANDLERS: Mapping[str, Callable[[_Reader, fx.Node], Primitive]] = {
    "conv1d": _Reader.conv,
    "conv2d": _Reader.conv,
    "convolution": _Reader.conv,
    "linear": _Reader.linear,
    "addmm": _Reader.addmm,
    "matmul": _Reader.linear,
    "mm": _Reader.linear,
    "batch_norm": _Reader.batch_norm,
    "_native_batch_norm_legit_no_training": _Reader.batch_norm,
    "dropout": _Reader.dropout,
    "hardtanh": _Reader.clamp,
    "clamp": _Reader.clamp,
    "clamp_min": _Reader.clamp,
    "max_pool2d": partial(_Reader.pool, pool="max"),
    "max_pool2d_with_indices": partial(_Reader.pool, pool="max"),
    "avg_pool2d": partial(_Reader.pool, pool="average"),
    "adaptive_avg_pool2d": _Reader.adaptive_pool,
    "mean": _Reader.mean,
    "pad": _Reader.pad,
    "constant_pad_nd": _Reader.pad,
    "add": _Reader.add,
    "sub": _Reader.add,
    "mul": _Reader.multiply,
    "div": _Reader.multiply,
}


def _sources(node: fx.Node) -> list[str]:
    """The values that a node reads, each as often as it reads it."""
    names: list[str] = []
    fx.node.map_arg((node.args, node.kwargs), lambda source: names.append(source.name))
    return names


def _operator(node: fx.Node) -> str:
    """ "hardtanh" for aten.hardtanh_.default: in place or not costs the same."""
    if node.target is operator.getitem:
        return "getitem"
    parts = str(node.target).split(".")
    return (parts[1] if len(parts) > 1 else parts[0]).removesuffix("_")


def _name(node: fx.Node) -> str:
    """The path of the submodule that the node stems from, and the node's own name."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = stack[-1][0] if stack else ""
    return f"{path}:{node.name}" if path else node.name


def _activation(node: fx.Node, activation: Activation, dtype: Dtype) -> ActivationSpec:
    image = image_fields(_shape(node), dtype)
    if image is None:  # on a vector: only as part of the linear layer before it
        batch, *features = _shape(node)
        channels = math.prod(features)
        image = {"batch": batch, "dtype": dtype, "in_channels": channels, "in_height": 1, "in_width": 1}
    return ActivationSpec(activation=activation, **image)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by the names in the operator's schema."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    arguments: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    if "self" in arguments:
        arguments["input"] = arguments.pop("self")
    return arguments


def _value(node: fx.Node) -> Any:
    """What a node gives, of several values the first."""
    value = node.meta.get("val")
    return value[0] if isinstance(value, tuple | list) and value else value


def _shape(node: Any) -> Shape:
    return tuple(int(side) for side in _value(node).shape)


def _pair(sides: Any, rank: int) -> list[int]:
    """One number for each axis, as torch reads an argument that may be short or missing."""
    given = list(sides) if sides else [1]
    return given if len(given) == rank else given * rank
