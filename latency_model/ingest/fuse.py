"""From the primitives of a graph to fused kernels: fold, recognise, absorb, until nothing changes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

from latency_model.ingest.primitives import (
    AddScalar,
    ChannelConstants,
    Multiply,
    MultiplyScalar,
    Node,
    OddlyPadded,
    Primitive,
    SpatialPad,
    View,
)
from latency_model.ops import (
    Activation,
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    LinearSpec,
    PoolSpec,
    SqueezeExciteSpec,
)

_WEIGHTED = (ConvSpec, DepthwiseConvSpec, LinearSpec)
_ACTIVATED = (*_WEIGHTED, AddSpec)
_NOTHING: tuple[Primitive, ...] = (AddScalar(0), MultiplyScalar(1))


class _Graph:
    """Nodes by their output, in the order in which they run."""

    def __init__(self, nodes: Iterable[Node], outputs: Iterable[str]) -> None:
        self.nodes = {node.output: node for node in nodes}
        self._outputs = list(outputs)

    def producer(self, value: str) -> Node | None:
        return self.nodes.get(value)

    def sole_producer(self, value: str) -> Node | None:
        """Who makes the value, if nobody but one node reads it."""
        readers = [node for node in self.nodes.values() for name in node.inputs if name == value]
        return self.producer(value) if len(readers) + self._outputs.count(value) == 1 else None

    def replace(self, node: Node, primitive: Primitive, inputs: tuple[str, ...], gone: Iterable[Node]) -> None:
        """Put another primitive in a node's place and take away the nodes that it swallows."""
        self.nodes[node.output] = dataclasses.replace(node, primitive=primitive, inputs=inputs)
        for swallowed in gone:
            del self.nodes[swallowed.output]

    def drop(self, node: Node) -> None:
        """Take away a node of one input; its readers read that input."""
        del self.nodes[node.output]
        (source,) = node.inputs
        self.rename(node.output, source)

    def absorb(self, into: Node, node: Node, primitive: Primitive) -> None:
        """Let a node swallow its only reader ``node``."""
        self.nodes[into.output] = dataclasses.replace(into, primitive=primitive)
        del self.nodes[node.output]
        self.rename(node.output, into.output)

    def rename(self, old: str, new: str) -> None:
        self._outputs = [new if name == old else name for name in self._outputs]
        for node in list(self.nodes.values()):
            if old in node.inputs:
                inputs = tuple(new if name == old else name for name in node.inputs)
                self.nodes[node.output] = dataclasses.replace(node, inputs=inputs)


def fuse(nodes: Iterable[Node], outputs: Iterable[str]) -> list[Node]:
    """The fused graph. Nodes whose primitive is still no ``OpSpec`` are what our specs cannot express."""
    graph = _Graph(nodes, outputs)
    while _apply_rules(graph):
        pass
    return list(graph.nodes.values())


def _apply_rules(graph: _Graph) -> bool:
    """One pass over all nodes; whether it changed anything."""
    has_changed = False
    for output in list(graph.nodes):
        for rule in _RULES:
            if (node := graph.nodes.get(output)) is not None and rule(graph, node):
                has_changed = True
    return has_changed


def _drop_view(graph: _Graph, node: Node) -> bool:
    """What moves no data, and x + 0 and x * 1, which runtimes take out (Python's sum() begins with 0)."""
    if not isinstance(node.primitive, View) and node.primitive not in _NOTHING:
        return False
    graph.drop(node)
    return True


def _fold_channel_constants(graph: _Graph, node: Node) -> bool:
    """Batch norm and biases become part of the weights before them."""
    if not isinstance(node.primitive, ChannelConstants):
        return False
    before = graph.sole_producer(node.inputs[0])
    if before is None or not isinstance(before.primitive, _WEIGHTED) or before.primitive.activation != "none":
        return False
    if before.primitive.output_shape[:2] != node.primitive.shape[:2]:  # a view between them made other channels
        return False
    graph.absorb(before, node, before.primitive)
    return True


def _fold_padding(graph: _Graph, node: Node) -> bool:
    """Pixels around the image and a layer after them that pads none, or few, of its own are one kernel, whose padding
    may be uneven: that costs what even padding does."""
    if not isinstance(node.primitive, OddlyPadded):
        return False
    before = graph.sole_producer(node.inputs[0])
    if before is None or not isinstance(before.primitive, SpatialPad):
        return False
    _, _, height, width = before.primitive.input_shape
    spec = dataclasses.replace(node.primitive.spec, in_height=height, in_width=width)
    if spec.output_shape != node.primitive.output_shape:
        return False
    graph.replace(node, spec, before.inputs, [before])
    return True


def _recognise_hard_sigmoid(graph: _Graph, node: Node) -> bool:
    """relu6(x + 3) / 6, and x * relu6(x + 3) / 6."""
    if not isinstance(node.primitive, MultiplyScalar) or not math.isclose(node.primitive.value, 1 / 6, rel_tol=1e-4):
        return False
    before = graph.sole_producer(node.inputs[0])
    if before is None:
        return False
    if isinstance(before.primitive, Multiply):
        for x, gate in (before.inputs, before.inputs[::-1]):
            shifted = _shifted_relu6(graph, gate)
            if shifted is not None and shifted[0].inputs == (x,):
                spec = dataclasses.replace(_spec_of(shifted[1]), activation="hswish")
                graph.replace(node, spec, (x,), [before, *shifted])
                return True
        return False
    shifted = _shifted_relu6(graph, node.inputs[0])
    if shifted is None:
        return False
    spec = dataclasses.replace(_spec_of(shifted[1]), activation="hsigmoid")
    graph.replace(node, spec, shifted[0].inputs, shifted)
    return True


def _shifted_relu6(graph: _Graph, value: str) -> tuple[Node, Node] | None:
    """The nodes of x + 3 and of relu6 on it, if the value is that."""
    relu6 = graph.sole_producer(value)
    if relu6 is None or not isinstance(relu6.primitive, ActivationSpec) or relu6.primitive.activation != "relu6":
        return None
    shift = graph.sole_producer(relu6.inputs[0])
    if shift is None or shift.primitive != AddScalar(3.0):
        return None
    return shift, relu6


def _spec_of(node: Node) -> ActivationSpec:
    assert isinstance(node.primitive, ActivationSpec)
    return node.primitive


_GATED: dict[str, Activation] = {"sigmoid": "swish", "hsigmoid": "hswish"}


def _recognise_self_gate(graph: _Graph, node: Node) -> bool:
    """x * sigmoid(x) and x * hsigmoid(x)."""
    if not isinstance(node.primitive, Multiply):
        return False
    for x, gate in (node.inputs, node.inputs[::-1]):
        made = graph.sole_producer(gate)
        if made is None or not isinstance(made.primitive, ActivationSpec) or made.inputs != (x,):
            continue
        if (gated := _GATED.get(made.primitive.activation)) is not None:
            graph.replace(node, dataclasses.replace(made.primitive, activation=gated), (x,), [made])
            return True
    return False


def _recognise_squeeze_excite(graph: _Graph, node: Node) -> bool:
    """x * gate(expand(reduce(mean(x)))), by 1x1 convolutions or linear layers."""
    if not isinstance(node.primitive, Multiply):
        return False
    for x, gate in (node.inputs, node.inputs[::-1]):
        expand = _pointwise_producer(graph, gate)
        reduce = None if expand is None else _pointwise_producer(graph, expand.inputs[0])
        if expand is None or reduce is None:
            continue
        mean = graph.sole_producer(reduce.inputs[0])
        if mean is None or not isinstance(mean.primitive, PoolSpec) or mean.inputs != (x,):
            continue
        pool = mean.primitive
        if pool.pool != "global_average" or not isinstance(reduce.primitive, ConvSpec | LinearSpec):
            continue
        assert isinstance(expand.primitive, ConvSpec | LinearSpec)
        if expand.primitive.output_shape[1] != pool.in_channels:  # one gate for all channels
            continue
        spec = SqueezeExciteSpec(
            batch=pool.batch,
            dtype=pool.dtype,
            in_channels=pool.in_channels,
            in_height=pool.in_height,
            in_width=pool.in_width,
            squeeze_channels=reduce.primitive.output_shape[1],
            activation=reduce.primitive.activation,
            gate=expand.primitive.activation,
        )
        graph.replace(node, spec, (x,), [mean, reduce, expand])
        return True
    return False


def _pointwise_producer(graph: _Graph, value: str) -> Node | None:
    """Who makes the value, if it is a layer on one pixel that nobody else reads."""
    node = graph.sole_producer(value)
    if node is None:
        return None
    match node.primitive:
        case LinearSpec():
            return node
        case ConvSpec(in_height=1, in_width=1, kernel_size=1, groups=1):
            return node
        case _:
            return None


def _absorb_activation(graph: _Graph, node: Node) -> bool:
    """An activation becomes part of the layer or sum before it."""
    if not isinstance(node.primitive, ActivationSpec):
        return False
    before = graph.sole_producer(node.inputs[0])
    if before is None or not isinstance(before.primitive, _ACTIVATED) or before.primitive.activation != "none":
        return False
    graph.absorb(before, node, dataclasses.replace(before.primitive, activation=node.primitive.activation))
    return True


_RULES: tuple[Callable[[_Graph, Node], bool], ...] = (
    _drop_view,
    _fold_padding,
    _fold_channel_constants,
    _recognise_hard_sigmoid,
    _recognise_self_gate,
    _absorb_activation,
    _recognise_squeeze_excite,
)
