"""A torch module as primitives, by torch.export."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from latency_model.errors import LatencyModelError
from latency_model.ingest.fx_node import arguments_of, name_of, operator_of, shape_of, sources_of, value_of
from latency_model.ingest.open_batch import fix_batch
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
from latency_model.ops import Activation, ActivationSpec, AddSpec, Dtype, PoolKind

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
    except (Exception, SystemExit) as error:  # forward() is the user's: it may raise anything
        raise LatencyModelError(
            f"torch.export cannot take {type(module).__name__}: {type(error).__name__}: {str(error).strip()[:600]}\n"
            "Check the shapes of the example inputs, and that forward() has no control flow on values."
        ) from error
    return program_primitives(program)


def program_primitives(program: torch.export.ExportedProgram, batch: int = 1) -> tuple[list[Node], list[str]]:
    """Nodes and graph outputs of an exported program; an open batch becomes ``batch``.

    Raises:
        LatencyModelError: an image size is open.
    """
    if any(operator_of(node).startswith("wrap_with_") for node in program.graph.nodes if node.op == "call_function"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns about torch
            program = program.run_decompositions({})  # puts in line what stands under torch.no_grad() and its like
    fix_batch(program, batch)
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
        inputs = tuple(name for name in sources_of(node) if name in self._activations)
        if not inputs or not isinstance(value_of(node), Tensor):  # constants, sizes, or a check that computes nothing
            return
        self._activations.add(node.name)
        primitive = self._primitive(node)
        self.nodes.append(Node(name=name_of(node), primitive=primitive, inputs=inputs, output=node.name))

    def _primitive(self, node: fx.Node) -> Primitive:
        name = operator_of(node)
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
        if operator_of(node) == "hardtanh":
            low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
        if (low, high) == (0, 6):
            return _activation(node, "relu6", self._dtype)
        if low == 0 and high is None:
            return _activation(node, "relu", self._dtype)
        return Unsupported(operator=str(node.target), why=f"limits {low} and {high} are none of relu and relu6")

    def conv(self, node: fx.Node) -> Primitive:
        arguments = arguments_of(node)
        if arguments.get("transposed", False):
            return Unsupported(operator=str(node.target), why="a transposed convolution")
        if not self._is_constant(arguments["weight"]):
            return Unsupported(operator=str(node.target), why="its weight is computed from the input")
        weight = shape_of(arguments["weight"])
        rank = len(weight) - 2
        window = Window(
            operator=str(node.target),
            kernel=weight[2:],
            strides=_pair(arguments.get("stride"), rank),
            dilations=_pair(arguments.get("dilation"), rank),
        )
        x = arguments.get("input")
        return conv_primitive(window, shape_of(x), shape_of(node), groups=arguments.get("groups", 1), dtype=self._dtype)

    def linear(self, node: fx.Node) -> Primitive:
        return self._linear(node, *node.args[:2])

    def addmm(self, node: fx.Node) -> Primitive:
        if not self._is_constant(node.args[0]):
            return Unsupported(operator=str(node.target), why="it adds an activation")
        return self._linear(node, *node.args[1:3])

    def _linear(self, node: fx.Node, x: Any, weight: Any) -> Primitive:
        if not self._is_constant(weight):
            return Unsupported(operator=str(node.target), why="a product of two activations")
        return linear_primitive(str(node.target), shape_of(x), shape_of(node), self._dtype)

    def batch_norm(self, node: fx.Node) -> Primitive:
        if arguments_of(node).get("training", False):
            return Unsupported(operator=str(node.target), why="in training mode: call eval() on the module")
        return ChannelConstants(shape_of(node))

    def dropout(self, node: fx.Node) -> Primitive:
        if arguments_of(node)["train"]:
            return Unsupported(operator=str(node.target), why="in training mode: call eval() on the module")
        return View()

    def pool(self, node: fx.Node, pool: PoolKind) -> Primitive:
        arguments = arguments_of(node)
        kernel = _pair(arguments["kernel_size"], 2)
        strides = _pair(arguments.get("stride") or kernel, 2)
        dilations = _pair(arguments.get("dilation"), 2)
        is_padded = any(_pair(arguments.get("padding", [0]), 2))
        window = Window(
            operator=str(node.target), kernel=kernel, strides=strides, dilations=dilations, is_padded=is_padded
        )
        return pool_primitive(window, shape_of(node.args[0]), shape_of(node), pool=pool, dtype=self._dtype)

    def adaptive_pool(self, node: fx.Node) -> Primitive:
        if shape_of(node)[2:] != (1, 1):
            if shape_of(node) == shape_of(node.args[0]):
                return View()
            return Unsupported(operator=str(node.target), why=f"to {shape_of(node)[2:]}, not to one pixel")
        return global_average_primitive(str(node.target), shape_of(node.args[0]), self._dtype)

    def mean(self, node: fx.Node) -> Primitive:
        shape = shape_of(node.args[0])
        axes = node.args[1] if len(node.args) > 1 else None
        if not isinstance(axes, Sequence) or {int(str(axis)) % len(shape) for axis in axes} != _SPATIAL_AXES:
            return Unsupported(operator=str(node.target), why=f"over the axes {axes}, not over all pixels")
        return global_average_primitive(str(node.target), shape, self._dtype)

    def pad(self, node: fx.Node) -> Primitive:
        if (mode := arguments_of(node).get("mode", "constant")) != "constant":
            return Unsupported(operator=str(node.target), why=f"its mode is {mode!r}, not 'constant'")
        return pad_primitive(str(node.target), shape_of(node.args[0]), shape_of(node), self._dtype)

    def add(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        sign = 1 if operator_of(node) == "add" else -1
        if isinstance(right, int | float):
            return AddScalar(sign * right)
        if self._is_constant(left) or self._is_constant(right):
            return self._with_constant(node)
        image = image_fields(shape_of(left), self._dtype)
        if sign == 1 and shape_of(left) == shape_of(right) and image is not None:
            return AddSpec(**image)
        return Unsupported(operator=str(node.target), why=f"of {shape_of(left)} and {shape_of(right)}")

    def multiply(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        is_product = operator_of(node) == "mul"
        if isinstance(right, int | float):
            return MultiplyScalar(right if is_product else 1 / right)
        if self._is_constant(right) or (is_product and self._is_constant(left)):
            return self._with_constant(node)
        return Multiply() if is_product else Unsupported(operator=str(node.target), why="a quotient of activations")

    def _with_constant(self, node: fx.Node) -> Primitive:
        left, right = node.args[:2]
        activation, constant = (right, left) if self._is_constant(left) else (left, right)
        return constant_primitive(str(node.target), shape_of(activation), shape_of(constant))

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


def _activation(node: fx.Node, activation: Activation, dtype: Dtype) -> ActivationSpec:
    image = image_fields(shape_of(node), dtype)
    if image is None:  # on a vector: only as part of the linear layer before it
        batch, *features = shape_of(node)
        channels = math.prod(features)
        image = {"batch": batch, "dtype": dtype, "in_channels": channels, "in_height": 1, "in_width": 1}
    return ActivationSpec(activation=activation, **image)


def _pair(sides: Any, rank: int) -> list[int]:
    """One number for each axis, as torch reads an argument that may be short or missing."""
    given = list(sides) if sides else [1]
    return given if len(given) == rank else given * rank
