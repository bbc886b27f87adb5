"""Networks by name on a command line: our JSON, ONNX files, exported programs, torch modules, measurement files."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from latency_model.errors import LatencyModelError
from latency_model.ingest import (
    IngestedNetwork,
    NamedKernel,
    ingest_exported_program,
    ingest_module,
    ingest_network,
    ingest_onnx,
    with_blocks,
)
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec, network_from_json, with_batch
from latency_model.ops import OpSpec, Shape
from latency_model.readers import read_proxyless_config

if TYPE_CHECKING:
    from torch.nn import Module

_PUBLISHED_SHAPE = (1, 3, 224, 224)

NetworkResolver = Callable[[str, Shape | None], NetworkSpec | None]
"""Builds what a higher room knows by name or by files of its own, for such an input; ``None`` for anything else."""


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """A network as its file describes it.

    Attributes:
        layers: ops by name in the order in which they run. A foreign network has its inverted blocks put together.
        kernels: the same as fused kernels.
        spec: one of ours as it is wired; ``None`` for one from an ONNX file or from torch, whose ``layers`` may be no
            chain.
    """

    name: str
    layers: tuple[NamedKernel, ...]
    kernels: IngestedNetwork
    spec: NetworkSpec | None

    @property
    def ops(self) -> tuple[OpSpec, ...]:
        return tuple(layer.op for layer in self.layers)


def read_network(
    source: str | Path, input_shape: Shape | None = None, resolve: NetworkResolver | None = None
) -> NamedNetwork:
    """A network from a JSON, ``.onnx``, ``.pt2`` or published ``.config`` file, from ``package.module:callable``, or
    what ``resolve`` knows.

    Args:
        input_shape: of a torch module or a published network (else one image of 224 pixels); its first number is also
            taken for an open batch of an ONNX or ``.pt2`` file.
    Raises:
        UnsupportedOpsError: operators that our specs cannot express, each by name.
        LatencyModelError: no such file or callable, no network in it, or one of another input shape.
    """
    path = Path(source)
    if path.suffix in {".onnx", ".pt2"}:
        ingest = ingest_onnx if path.suffix == ".onnx" else ingest_exported_program
        found = ingest(path, batch=1 if input_shape is None else input_shape[0])
        return _foreign(str(source), _of_shape(str(source), found, input_shape))
    if path.suffix == ".config":
        return _own(str(source), _published(path, input_shape))
    if ":" in str(source) and not path.exists():
        return _foreign(str(source), _ingest_callable(str(source), input_shape))
    known = None if resolve is None else resolve(str(source), input_shape)
    own = _own(str(source), read_network_spec(path) if known is None else known)
    _of_shape(str(source), own.kernels, input_shape)
    return own


def read_networks(
    sources: Sequence[str | Path], input_shape: Shape | None = None, resolve: NetworkResolver | None = None
) -> list[NamedNetwork]:
    """As ``read_network``, and of a measurements file (``.jsonl``) every whole network in it."""
    networks: list[NamedNetwork] = []
    for source in sources:
        if Path(source).suffix == ".jsonl":
            found = read_measurements(Path(source)).network_measurements()
            networks.extend(_own(m.network.name, m.network) for m in found)
        else:
            networks.append(read_network(source, input_shape, resolve))
    return networks


def read_network_spec(path: Path) -> NetworkSpec:
    """A network file of ours.

    Raises:
        LatencyModelError: no such file, or no network in it.
    """
    try:
        return network_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise LatencyModelError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LatencyModelError(
            f"{path} is no network ({error}). Give a JSON file such as RUN/networks/derived.json, an .onnx or .pt2 "
            "file, or package.module:callable."
        ) from error


def parse_shape(text: str) -> Shape:
    """ "1,3,224,224" as a shape.

    Raises:
        LatencyModelError: not numbers of 1 and more, with commas between.
    """
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise LatencyModelError(f"{text!r} is no shape: write numbers with commas between, such as 1,3,224,224.")
    return shape


def _of_shape(source: str, network: IngestedNetwork, input_shape: Shape | None) -> IngestedNetwork:
    """The network, if its first kernel takes images of that shape; nothing would be priced at another one."""
    first = network.kernels[0].op if network.kernels else None
    if first is None or input_shape is None:
        return network
    own = first.input_shape
    # What a linear layer takes may have been flattened on the way.
    is_same = own == input_shape if len(own) == len(input_shape) else prod(own) == prod(input_shape)
    if not is_same:
        raise LatencyModelError(
            f"{source} is a network for {','.join(map(str, own))}, and --input-shape {','.join(map(str, input_shape))} "
            "cannot change that. Leave the option out, or export the network anew with an input of that shape."
        )
    return network


def _published(path: Path, input_shape: Shape | None) -> NetworkSpec:
    shape = input_shape or _PUBLISHED_SHAPE
    if len(shape) != len(_PUBLISHED_SHAPE) or shape[2] != shape[3]:
        raise LatencyModelError(f"{path} takes square images: give --input-shape as 1,3,224,224, not {shape}.")
    network = with_batch(read_proxyless_config(path, shape[2]), shape[0])
    if network.input_shape != shape:
        raise LatencyModelError(f"{path} takes {network.input_shape[1]} channels, not the {shape[1]} of {shape}.")
    return network


def _own(name: str, spec: NetworkSpec) -> NamedNetwork:
    layers = tuple(NamedKernel(name=layer, op=op) for layer, op in spec.layers)
    return NamedNetwork(name=name, layers=layers, kernels=ingest_network(spec), spec=spec)


def _foreign(name: str, kernels: IngestedNetwork) -> NamedNetwork:
    if not kernels.kernels:
        raise LatencyModelError(f"{name} holds no operator that costs anything: nothing to predict or to time.")
    return NamedNetwork(name=name, layers=with_blocks(kernels.kernels), kernels=kernels, spec=None)


def _ingest_callable(source: str, input_shape: Shape | None) -> IngestedNetwork:
    import torch  # noqa: PLC0415 - slow to import

    if input_shape is None:
        raise LatencyModelError(f"{source} is a torch module: say what it takes with --input-shape 1,3,224,224.")
    return ingest_module(_module(source).eval(), (torch.zeros(input_shape),))


def _module(source: str) -> Module:
    """What ``package.module:callable`` returns; packages in the current folder are found too."""
    from torch import nn  # noqa: PLC0415 - slow to import

    module_name, _, attribute = source.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        made = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(made, nn.Module):
            made = made()
    except (Exception, SystemExit) as error:  # the module is the user's: it may raise anything
        raise LatencyModelError(
            f"{source}: {type(error).__name__}: {error}. Give package.module:callable, where the callable takes no "
            "arguments and returns an nn.Module; the package must be installed or lie in the current folder."
        ) from error
    if not isinstance(made, nn.Module):
        raise LatencyModelError(f"{source} returned a {type(made).__name__}; it must return an nn.Module.")
    return made
