"""What comes in, and what comes out: kernels by name, and by name whatever our specs cannot express."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from latency_model.errors import LatencyModelError, UnsupportedOpsError
from latency_model.fusion import FusionRules, kernels_as_run
from latency_model.ingest.fuse import fuse
from latency_model.ingest.primitives import ChannelConstants, Node, Unsupported
from latency_model.kernels import named_kernels
from latency_model.network import NetworkSpec
from latency_model.ops import OpSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

OnUnsupported: TypeAlias = Literal["raise", "list"]


@dataclass(frozen=True, kw_only=True)
class NamedKernel:
    """A fused kernel under the name of the operator that it starts with."""

    name: str
    op: OpSpec


@dataclass(frozen=True, kw_only=True)
class UnsupportedOp:
    """An operator that our specs cannot express."""

    name: str
    operator: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.operator}): {self.why}"


@dataclass(frozen=True, kw_only=True)
class IngestedNetwork:
    """Kernels in the order in which they run. ``unsupported`` is empty unless the list was asked for."""

    kernels: tuple[NamedKernel, ...]
    unsupported: tuple[UnsupportedOp, ...] = ()

    @property
    def ops(self) -> tuple[OpSpec, ...]:
        return tuple(kernel.op for kernel in self.kernels)

    def as_run(self, rules: FusionRules) -> IngestedNetwork:
        """The same network in the kernels of one runtime: activations that it does not fuse stand alone."""
        kernels: list[NamedKernel] = []
        for kernel in self.kernels:
            first, *rest = kernels_as_run(kernel.op, rules)
            kernels.append(NamedKernel(name=kernel.name, op=first))
            kernels.extend(NamedKernel(name=f"{kernel.name}.{op.kind}", op=op) for op in rest)
        return IngestedNetwork(kernels=tuple(kernels), unsupported=self.unsupported)


def ingest_network(network: NetworkSpec) -> IngestedNetwork:
    """The kernels of one of our own networks (of a derived architecture, say)."""
    return IngestedNetwork(
        kernels=tuple(
            NamedKernel(name=f"{layer}.{part}" if part else layer, op=kernel)
            for layer, op in network.layers
            for part, kernel in named_kernels(op)
        )
    )


def ingest_onnx(source: Path | bytes, *, batch: int = 1, unsupported: OnUnsupported = "raise") -> IngestedNetwork:
    """The kernels of an ONNX model. An open batch dimension is taken as ``batch``.

    Raises:
        UnsupportedOpsError: some operators cannot be expressed, and no list of them was asked for.
        LatencyModelError: this is no ONNX model, or image sizes are open.
    """
    import onnx  # noqa: PLC0415 - needs onnx
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with onnx

    from latency_model.ingest.onnx_graph import onnx_primitives  # noqa: PLC0415

    name = str(source) if isinstance(source, Path) else "ONNX model"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
        model = onnx.load_from_string(content)
    except OSError as error:
        raise LatencyModelError(f"Cannot read {name}: {error.strerror}.") from error
    except DecodeError as error:
        raise LatencyModelError(f"{name} is no ONNX model, or a torn one: {error}.") from error
    if not model.HasField("graph"):  # nothing at all reads as a model without contents
        raise LatencyModelError(f"{name} is no ONNX model: it holds no graph.")
    nodes, outputs = onnx_primitives(model, batch)
    return _ingested(name, nodes, outputs, unsupported)


def ingest_module(
    module: Module, example_inputs: Sequence[Tensor], *, unsupported: OnUnsupported = "raise"
) -> IngestedNetwork:
    """The kernels of a torch module in inference, by ``torch.export`` with the shapes of the example inputs.

    Raises:
        UnsupportedOpsError: some operators cannot be expressed, and no list of them was asked for.
        LatencyModelError: torch cannot export the module.
    """
    from latency_model.ingest.torch_graph import torch_primitives  # noqa: PLC0415 - torch is slow to import

    nodes, outputs = torch_primitives(module, example_inputs)
    return _ingested(type(module).__name__, nodes, outputs, unsupported)


def ingest_exported_program(path: Path, *, batch: int = 1, unsupported: OnUnsupported = "raise") -> IngestedNetwork:
    """The kernels of a ``.pt2`` file, as ``torch.export.save`` writes it. An open batch dimension is taken as
    ``batch``.

    Raises:
        UnsupportedOpsError: some operators cannot be expressed, and no list of them was asked for.
        LatencyModelError: this is no such file, or image sizes are open.
    """
    import torch  # noqa: PLC0415 - slow to import

    from latency_model.ingest.torch_graph import program_primitives  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # torch would write a traceback of its own first
                raise ValueError("no zip archive")
        program = torch.export.load(path)
    except OSError as error:
        raise LatencyModelError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    except (RuntimeError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise LatencyModelError(
            f"{path} is no exported program ({str(error).strip()[:200]}). Write one with "
            "torch.export.save(torch.export.export(module.eval(), (example_input,)), path)."
        ) from error
    nodes, outputs = program_primitives(program, batch)
    return _ingested(str(path), nodes, outputs, unsupported)


def _ingested(
    source: str, nodes: Iterable[Node], outputs: Iterable[str], on_unsupported: OnUnsupported
) -> IngestedNetwork:
    fused = fuse(nodes, outputs)
    kernels = tuple(
        NamedKernel(name=node.name, op=node.primitive) for node in fused if isinstance(node.primitive, get_args(OpSpec))
    )
    left = tuple(_unsupported(node) for node in fused if not isinstance(node.primitive, get_args(OpSpec)))
    if left and on_unsupported == "raise":
        raise UnsupportedOpsError(source, [str(op) for op in left])
    return IngestedNetwork(kernels=kernels, unsupported=left)


def _unsupported(node: Node) -> UnsupportedOp:
    match node.primitive:
        case Unsupported(operator=operator, why=why):
            return UnsupportedOp(name=node.name, operator=operator, why=why)
        case ChannelConstants():
            why = "constants for each channel with no layer before them to fold into"
            return UnsupportedOp(name=node.name, operator="scale and shift", why=why)
        case primitive:
            operator = type(primitive).__name__
            return UnsupportedOp(name=node.name, operator=operator, why="stands alone; no op spec stands for it")
