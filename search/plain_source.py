"""Writes a network as one readable PyTorch file that needs torch alone, and its weights under that file's names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import assert_never

from latency_model.network import NetworkSpec
from latency_model.ops import (
    Activation,
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    FusedMBConvSpec,
    IdentitySpec,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PadChannelsSpec,
    PoolSpec,
    SeparableConvSpec,
    SqueezeExciteSpec,
    ZeroSpec,
)
from latency_model.wiring import INPUT, Step
from search.plain_network import check_adds, module_name
from search.plain_source_parts import CONV_UNIT, FUSED_MBCONV, LOADING, MBCONV, SEPARABLE_CONV, SQUEEZE_EXCITE

LINE_LENGTH = 88
FUNCTIONS = {
    "relu": "F.relu",
    "relu6": "F.relu6",
    "hswish": "F.hardswish",
    "hsigmoid": "F.hardsigmoid",
    "sigmoid": "torch.sigmoid",
    "swish": "F.silu",
}


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What a user of the network must know of its images: classes, and how pixels become inputs.

    Attributes:
        channels: what the channels are, in order.
        resize: how images of another size were brought to the network's.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    resize: str


def plain_source(network: NetworkSpec, facts: ImageFacts) -> str:
    """The file: only what this network uses, laid out as its layers run.

    Raises:
        SpaceError: an add with one input.
    """
    title = "".join(part.capitalize() for part in re.split(r"\W|_", network.name))
    title = title if title.isidentifier() and not keyword.iskeyword(title) else "Network"
    made, run = [], []
    for step, op in zip(check_adds(network), network.ops, strict=True):
        made += list(_made(attribute(step.name), op))
        run += list(_run(attribute(step.name), op, *_values(network, step)))
    blocks = "".join(f"\n\n{part}" for part in _parts(network))
    _, *image_shape = network.input_shape
    constants = [
        f"IMAGE_SHAPE = {tuple(image_shape)}  # channels, height, width",
        *_sequence("MEAN", [repr(value) for value in facts.mean]),
        *_sequence("STD", [repr(value) for value in facts.std]),
        *_sequence("CLASS_NAMES", [_quoted(name) for name in facts.class_names]),
    ]
    body = "\n".join(
        [
            f"class {title}(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in made),
            "",
            "    def forward(self, x):",
            *(f"        {line}" for line in run),
            f"        return {_values(network, network.steps[-1])[0]}",
        ]
    )
    functional = "import torch.nn.functional as F\n" if "F." in blocks + body else ""
    head = f'"""The network {network.name!r}, found by proxyless. It needs torch and nothing else.\n\n'
    head += f"model = load()  # reads {file_stem(network.name)}.safetensors beside this file\n"
    head += "logits = model(preprocess(images))  # images: uint8, (n, channels, height, width)\n\n"
    head += f"Channels: {facts.channels}. Images of another size: {facts.resize}.\n"
    head += '"""\n\nimport json\nfrom pathlib import Path\n\nimport torch\n' + functional + "from torch import nn\n\n"
    return head + "\n".join(constants) + "\n" + blocks + "\n\n" + body + "\n\n\n" + LOADING.replace("TITLE", title)


def file_stem(network_name: str) -> str:
    """What the written file is called, without its suffix. Python looks beside a script first: a ``random.py`` there
    would be imported by torch in place of the standard module, so only the derived network keeps its bare name."""
    return network_name if network_name == "derived" else re.sub(r"\W", "_", network_name) + "_network"


def plain_state(network: NetworkSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trained module's state under the names that the written file uses, without batch counters."""
    attributes = {module_name(name): attribute(name) for name, _ in network.layers}
    renamed = {}
    for name, value in state.items():
        _, layer, part = name.split(".", 2)
        if not part.endswith("num_batches_tracked"):
            plain = part.removeprefix("stages.").removeprefix("linear.")
            renamed[f"{attributes[layer]}.{plain}"] = value.contiguous()
    return renamed


def attribute(layer_name: str) -> str:
    """The layer's name as an attribute of a module that has none of that name yet."""
    name = module_name(layer_name)
    is_free = name.isidentifier() and not keyword.iskeyword(name) and not hasattr(nn.Module, name)
    return name if is_free else "layer_" + re.sub(r"\W", "_", name)


def _parts(network: NetworkSpec) -> Iterator[str]:
    kinds = {type(op) for op in network.ops}
    blocks = kinds & {MBConvSpec, FusedMBConvSpec}
    if blocks or kinds & {ConvSpec, DepthwiseConvSpec, SeparableConvSpec}:
        yield CONV_UNIT
    if SqueezeExciteSpec in kinds or any(getattr(op, "squeeze_channels", None) for op in network.ops):
        yield SQUEEZE_EXCITE
    if SeparableConvSpec in kinds:
        yield SEPARABLE_CONV
    if MBConvSpec in kinds:
        yield MBCONV if _has_squeeze(network, MBConvSpec) else _without_squeeze(MBCONV)
    if FusedMBConvSpec in kinds:
        yield FUSED_MBCONV if _has_squeeze(network, FusedMBConvSpec) else _without_squeeze(FUSED_MBCONV)


def _has_squeeze(network: NetworkSpec, kind: type[MBConvSpec | FusedMBConvSpec]) -> bool:
    return any(isinstance(op, kind) and op.squeeze_channels is not None for op in network.ops)


def _without_squeeze(source: str) -> str:
    """The block's source without its attention, for networks that have none."""
    return "\n".join(line for line in source.split("\n") if "squeeze" not in line)


def _made(name: str, op: OpSpec) -> Iterator[str]:
    match op:
        case ConvSpec() | DepthwiseConvSpec():
            out_channels = op.output_shape[1]
            groups = op.in_channels if isinstance(op, DepthwiseConvSpec) else op.groups
            options = {"stride": op.stride, "dilation": op.dilation, "groups": groups}
            given = [f"{key}={value}" for key, value in options.items() if value != 1]
            yield from _call(
                name,
                "ConvUnit",
                [str(op.in_channels), str(out_channels), str(op.kernel_size), *given, *_activation(op.activation)],
            )
        case MBConvSpec() | FusedMBConvSpec():
            kind = "MBConv" if isinstance(op, MBConvSpec) else "FusedMBConv"
            given = [str(op.in_channels), str(op.out_channels), f"kernel_size={op.kernel_size}"]
            given.append(f"expand={op.expand_channels}")
            given += [f"stride={op.stride}"] if op.stride != 1 else []
            given += [f"squeeze={op.squeeze_channels}"] if op.squeeze_channels is not None else []
            given += ["residual=True"] if op.has_residual else []
            yield from _call(name, kind, [*given, *_activation(op.activation)])
        case SqueezeExciteSpec():
            given = [str(op.in_channels), str(op.squeeze_channels), FUNCTIONS[op.activation], FUNCTIONS[op.gate]]
            yield from _call(name, "SqueezeExcite", given)
        case LinearSpec():
            yield from _call(name, "nn.Linear", [str(op.in_features), str(op.out_features)])
        case SeparableConvSpec():
            given = [str(op.in_channels), str(op.out_channels), str(op.kernel_size)]
            given += [f"stride={op.stride}"] if op.stride != 1 else []
            given += [f"dilation={op.dilation}"] if op.dilation != 1 else []
            yield from _call(name, "SeparableConv", [*given, *_activation(op.activation)])
        case PoolSpec() | ActivationSpec() | IdentitySpec() | ZeroSpec() | AddSpec() | PadChannelsSpec():
            return
        case _:
            assert_never(op)


def _values(network: NetworkSpec, step: Step) -> tuple[str, list[str]]:
    """The variables for what a layer gives and takes: ``x`` throughout a chain, the layers' names in other networks."""
    if not network.wiring:
        return "x", ["x"]
    return attribute(step.name), ["x" if source == INPUT else attribute(source) for source in step.sources]


def _run(name: str, op: OpSpec, y: str, sources: list[str]) -> Iterator[str]:
    x = sources[0]
    match op:
        case LinearSpec() if op.activation != "none":
            yield f"{y} = {FUNCTIONS[op.activation]}(self.{name}({x}))"
        case ActivationSpec():
            yield f"{y} = {FUNCTIONS[op.activation]}({x})"
        case AddSpec():
            total = " + ".join(sources)
            yield f"{y} = {total}" if op.activation == "none" else f"{y} = {FUNCTIONS[op.activation]}({total})"
        case PadChannelsSpec():
            yield f"{y} = F.pad({x}, (0, 0, 0, 0, 0, {op.out_channels - op.in_channels}))"
        case PoolSpec():
            yield f"{y} = {_pool(op, x)}"
        case IdentitySpec():
            yield f"# {name}: skipped" if x == y else f"{y} = {x}"
        case ZeroSpec():
            yield f"{y} = torch.zeros_like({x})"
        case _:
            yield f"{y} = self.{name}({x})"


def _pool(op: PoolSpec, x: str) -> str:
    window = f"{op.kernel_size}, {op.stride}, {(op.kernel_size - 1) // 2}"
    match op.pool:
        case "global_average":
            return f"{x}.mean((2, 3))"
        case "average":
            return f"F.avg_pool2d({x}, {window})"
        case "max":
            return f"F.max_pool2d({x}, {window})"


def _activation(activation: Activation) -> list[str]:
    return [] if activation == "none" else [f"activation={FUNCTIONS[activation]}"]


def _call(name: str, called: str, arguments: list[str]) -> Iterator[str]:
    """One assignment, broken over lines when it is too long for one."""
    whole = f"self.{name} = {called}({', '.join(arguments)})"
    if len(whole) + 8 <= LINE_LENGTH:
        yield whole
        return
    yield f"self.{name} = {called}("
    inside = ", ".join(arguments)
    if len(inside) + 12 <= LINE_LENGTH:
        yield f"    {inside}"
    else:
        yield from (f"    {argument}," for argument in arguments)
    yield ")"


def _sequence(name: str, items: list[str]) -> Iterator[str]:
    whole = f"{name} = [{', '.join(items)}]"
    if len(whole) <= LINE_LENGTH:
        yield whole
        return
    yield f"{name} = ["
    yield from (f"    {item}," for item in items)
    yield "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
