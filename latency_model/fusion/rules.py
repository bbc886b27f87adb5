"""Fusion rules: read from data, applied to ops."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_model.errors import LatencyModelError, SchemaError
from latency_model.kernels import kernels_of
from latency_model.ops import (
    Activation,
    ActivationSpec,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    OpSpec,
)

SCHEMA = 1
_FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionRules:
    """What one runtime was seen to fuse.

    ``fused_activations`` maps the kind of an op ("conv", "add", ...) to the activations that run inside its
    kernel. ``fuses_residual_add`` says that a sum after a convolution runs inside the convolution.
    ``kernels`` holds, for each probe, the runtime's names for the kernels that it ran.
    """

    runtime: str
    runtime_version: str
    dtype: Dtype
    system: str
    fused_activations: Mapping[str, tuple[Activation, ...]]
    fuses_residual_add: bool
    kernels: Mapping[str, tuple[str, ...]]


def rules_to_json(rules: FusionRules) -> dict[str, Any]:
    return {"schema": SCHEMA, **dataclasses.asdict(rules)}


def rules_from_json(data: Mapping[str, Any]) -> FusionRules:
    """Read rules back.

    Raises:
        SchemaError: a schema that this version does not know.
    """
    fields = dict(data)
    if fields.pop("schema", None) != SCHEMA:
        raise SchemaError(f"Fusion rules have schema {data.get('schema')!r}; this version reads {SCHEMA}.")
    for name in ("fused_activations", "kernels"):
        fields[name] = {key: tuple(values) for key, values in fields[name].items()}
    return FusionRules(**fields)


def rules_file(runtime: str, dtype: Dtype) -> Path:
    """Where the rules of a runtime lie. Half-precision weights change nothing about what is fused."""
    return _FOLDER / f"{runtime}_{'fp32' if dtype == 'fp16' else dtype}.json"


def load_fusion_rules(runtime: str, dtype: Dtype = "fp32") -> FusionRules:
    """The rules that come with this version for "onnxruntime" or "litert".

    Raises:
        LatencyModelError: there are none for this runtime.
    """
    path = rules_file(runtime, dtype)
    if not path.exists():
        known = sorted({file.stem.rsplit("_", 1)[0] for file in _FOLDER.glob("*.json")})
        raise LatencyModelError(
            f"No fusion rules for runtime {runtime!r}; there are some for {', '.join(known)}. Describe networks by "
            "blocks for this runtime (campaign --grain blocks), or time them with one of those."
        )
    return rules_from_json(json.loads(path.read_text()))


def observed_with(runtime: str) -> str | None:
    """What the rules of a runtime were observed on; None where there are none."""
    if not rules_file(runtime, "fp32").exists():
        return None
    rules = load_fusion_rules(runtime)
    return f"{rules.runtime} {rules.runtime_version} on {rules.system}, cpu"


def rules_doubt(runtime: str, *, version: str, accelerator: str = "cpu", system: str | None = None) -> str | None:
    """Why the rules of a runtime may not hold on a device, in words; None where they were observed on its like.

    Args:
        system: and machine, such as "Linux aarch64"; None where nobody knows, which is no doubt by itself.
    """
    observed = observed_with(runtime)
    if observed is None:
        return None
    rules = load_fusion_rules(runtime)
    here = [
        words
        for words, differs in (
            (f"version {version}", version != rules.runtime_version),
            (f"accelerator {accelerator}", accelerator != "cpu"),
            (f"system {system}", system is not None and system != rules.system),
        )
        if differs
    ]
    if not here:
        return None
    return (
        f"Which ops fuse was observed with {observed}; this is {', '.join(here)}. It may fuse others, and kernels may "
        "then stand for what it does not run. Measured blocks (campaign --grain blocks) do not depend on it."
    )


def kernels_as_run(op: OpSpec, rules: FusionRules) -> tuple[OpSpec, ...]:
    """``kernels_of`` with every activation that the runtime does not fuse as a kernel of its own.

    A sum that the runtime runs inside a convolution is still listed: its traffic is not free, and no spec holds a
    convolution with two inputs. Linear layers keep their activation, as no spec holds one on a vector.
    """
    kernels: list[OpSpec] = []
    for kernel in kernels_of(op):
        kernels.extend(_split(kernel, rules))
    return tuple(kernels)


def _split(kernel: OpSpec, rules: FusionRules) -> tuple[OpSpec, ...]:
    match kernel:
        case ConvSpec() | DepthwiseConvSpec() | AddSpec():
            fused = {"none", *rules.fused_activations.get(kernel.kind, ())}
            if kernel.activation in fused:
                return (kernel,)
            _, channels, height, width = kernel.output_shape
            activation = ActivationSpec(
                batch=kernel.batch,
                dtype=kernel.dtype,
                in_channels=channels,
                in_height=height,
                in_width=width,
                activation=kernel.activation,
            )
            return (dataclasses.replace(kernel, activation="none"), activation)
        case _:
            return (kernel,)
