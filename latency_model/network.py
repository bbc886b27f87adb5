"""NetworkSpec: a whole network as named ops, in a chain or wired, the unit that is lowered, exported and timed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from latency_model.op_json import op_from_json, op_to_json
from latency_model.ops import AddSpec, Dtype, OpSpec, OpSpecError, Shape
from latency_model.wiring import INPUT, Step, Wiring, steps_of


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Ops in the order in which they run, each under a name that also names its weights.

    A layer takes what the one before it gives, except as ``wiring`` says; an ``AddSpec`` may then take two.

    Raises:
        OpSpecError: no layers, a name used twice, wiring that does not hold, or an op that does not take what it gets.
    """

    name: str
    layers: tuple[tuple[str, OpSpec], ...]
    wiring: Wiring = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise OpSpecError(f"Network {self.name!r} has no layers.")
        seen: set[str] = set()
        for layer_name, _ in self.layers:
            if layer_name in seen:
                raise OpSpecError(f"Network {self.name!r} has two layers called {layer_name!r}.")
            seen.add(layer_name)
        self._check_shapes()

    def _check_shapes(self) -> None:
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for step, (_, op) in zip(self.steps, self.layers, strict=True):
            if len(step.sources) != 1 and not (isinstance(op, AddSpec) and len(step.sources) == 2):  # noqa: PLR2004
                raise OpSpecError(
                    f"Network {self.name!r}: layer {step.name!r} ({op.kind}) takes {len(step.sources)} values; only an "
                    f"add takes two, and all others one."
                )
            for source in step.sources:
                if op.input_shape != shapes[source]:
                    before = "the one before it" if not self.wiring else repr(source)
                    raise OpSpecError(
                        f"Network {self.name!r}: layer {step.name!r} takes {op.input_shape}, but {before} "
                        f"gives {shapes[source]}."
                    )
            shapes[step.name] = op.output_shape

    @property
    def steps(self) -> tuple[Step, ...]:
        """The layers as they run, with the values that each takes."""
        return steps_of([name for name, _ in self.layers], self.wiring)

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
    return dataclasses.replace(network, layers=layers)


def network_to_json(network: NetworkSpec) -> dict[str, Any]:
    """Plain JSON: schema 1 for a chain, 2 with the wiring of a network that is none."""
    layers = [{"name": name, **op_to_json(op)} for name, op in network.layers]
    if not network.wiring:
        return {"schema": 1, "name": network.name, "layers": layers}
    wiring = {name: list(sources) for name, sources in network.wiring}
    return {"schema": 2, "name": network.name, "layers": layers, "wiring": wiring}


def network_from_json(data: dict[str, Any]) -> NetworkSpec:
    """Read a network back.

    Raises:
        OpSpecError: a schema this version does not know, or a layer that is no op.
    """
    if data.get("schema") not in {1, 2}:
        raise OpSpecError(f"Network file has schema {data.get('schema')!r}; this version reads schemas 1 and 2.")
    layers = []
    for layer in data["layers"]:
        fields = dict(layer)
        layers.append((fields.pop("name"), op_from_json(fields)))
    wiring = tuple((name, tuple(sources)) for name, sources in data.get("wiring", {}).items())
    return NetworkSpec(name=data["name"], layers=tuple(layers), wiring=wiring)
