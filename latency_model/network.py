"""NetworkSpec: a whole network as a chain of named ops, the unit that is lowered, exported and timed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from latency_model.ops import Dtype, OpSpec, OpSpecError, Shape, op_from_json, op_to_json


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Ops in the order in which they run, each under a name that also names its weights.

    Raises:
        OpSpecError: no layers, a name used twice, or an op that does not take what the one before it gives.
    """

    name: str
    layers: tuple[tuple[str, OpSpec], ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise OpSpecError(f"Network {self.name!r} has no layers.")
        seen: set[str] = set()
        shape: Shape | None = None
        for layer_name, op in self.layers:
            if layer_name in seen:
                raise OpSpecError(f"Network {self.name!r} has two layers called {layer_name!r}.")
            seen.add(layer_name)
            if shape is not None and op.input_shape != shape:
                raise OpSpecError(
                    f"Network {self.name!r}: layer {layer_name!r} takes {op.input_shape}, but the one before "
                    f"it gives {shape}."
                )
            shape = op.output_shape

    @property
    def ops(self) -> tuple[OpSpec, ...]:
        return tuple(op for _, op in self.layers)

    @property
    def input_shape(self) -> Shape:
        return self.layers[0][1].input_shape

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1][1].output_shape


def single_op_network(op: OpSpec) -> NetworkSpec:
    """The network that holds one op, named by its key: what a profile times."""
    return NetworkSpec(name=op.key, layers=(("op", op),))


def with_batch(network: NetworkSpec, batch: int) -> NetworkSpec:
    """The same network for another number of images."""
    return _with_fields(network, batch=batch)


def with_dtype(network: NetworkSpec, dtype: Dtype) -> NetworkSpec:
    """The same network in another dtype."""
    return _with_fields(network, dtype=dtype)


def _with_fields(network: NetworkSpec, **fields: Any) -> NetworkSpec:
    layers = tuple((name, dataclasses.replace(op, **fields)) for name, op in network.layers)
    return NetworkSpec(name=network.name, layers=layers)


def network_to_json(network: NetworkSpec) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": network.name,
        "layers": [{"name": name, **op_to_json(op)} for name, op in network.layers],
    }


def network_from_json(data: dict[str, Any]) -> NetworkSpec:
    """Read a network back.

    Raises:
        OpSpecError: a schema this version does not know, or a layer that is no op.
    """
    if data.get("schema") != 1:
        raise OpSpecError(f"Network file has schema {data.get('schema')!r}; this version reads schema 1.")
    layers = []
    for layer in data["layers"]:
        fields = dict(layer)
        layers.append((fields.pop("name"), op_from_json(fields)))
    return NetworkSpec(name=data["name"], layers=tuple(layers))
