"""Watch what a runtime on this machine fuses, and write it down as its fusion rules.

``python -m latency_model.fusion.observe onnxruntime litert`` renews the files beside this module.

Each probe is a small network with the op in question between two others, as some fusions happen only inside a
network; it is compared with the same network without the activation (or without the sum).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from latency_model.errors import LatencyModelError
from latency_model.fusion import litert_profile, onnxruntime_profile
from latency_model.fusion.rules import FusionRules, rules_file, rules_to_json
from latency_model.lowering import Int8Options, nominal_ranges, random_weights, write_onnx, write_tflite
from latency_model.network import NetworkSpec
from latency_model.ops import (
    Activation,
    AddSpec,
    ConvSpec,
    DepthwiseConvSpec,
    Dtype,
    LinearSpec,
    MBConvSpec,
    OpSpec,
    PoolSpec,
    SqueezeExciteSpec,
)

RUNTIMES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}  # and the distribution each comes in
DTYPES: tuple[Dtype, ...] = ("fp32", "int8")
WIDTH, SIDE = 32, 14
_ACTIVATIONS: tuple[Activation, ...] = tuple(name for name in get_args(Activation) if name != "none")

ProfileNetwork = Callable[[NetworkSpec], list[str]]


def observe_fusion(runtime: str, dtype: Dtype) -> FusionRules:
    """The rules of a runtime, from its own profiles on this machine.

    Raises:
        LatencyModelError: the runtime is unknown, or gives no profile here.
    """
    if runtime not in RUNTIMES:
        raise LatencyModelError(f"Cannot observe runtime {runtime!r}; use one of {', '.join(RUNTIMES)}.")
    with TemporaryDirectory() as folder:
        kernels = {name: tuple(_profile(runtime, network, Path(folder))) for name, network in _probes(dtype)}
    return FusionRules(
        runtime=runtime,
        runtime_version=metadata.version(RUNTIMES[runtime]),
        dtype=dtype,
        system=f"{platform.system()} {platform.machine()}",
        fused_activations=_fused_activations(kernels),
        fuses_residual_add=len(kernels["residual block"]) == len(kernels["block"]),
        kernels=kernels,
    )


def _fused_activations(kernels: dict[str, tuple[str, ...]]) -> dict[str, tuple[Activation, ...]]:
    return {
        kind: tuple(
            activation
            for activation in _ACTIVATIONS
            if len(kernels[f"{kind} + {activation}"]) == len(kernels[f"{kind} + none"])
        )
        for kind in ("conv", "depthwise", "linear", "add")
    }


def _profile(runtime: str, network: NetworkSpec, folder: Path) -> list[str]:
    weights = random_weights(network)
    int8 = Int8Options(ranges=nominal_ranges())
    if runtime == "litert":
        write_tflite(network, weights, folder / "probe.tflite", int8=int8)
        return litert_profile.profile_kernels(folder / "probe.tflite")
    write_onnx(network, weights, folder / "probe.onnx", int8=int8)
    return onnxruntime_profile.profile_kernels(folder / "probe.onnx")


def _probes(dtype: Dtype) -> Iterator[tuple[str, NetworkSpec]]:
    activations: tuple[Activation, ...] = ("none", *_ACTIVATIONS)
    for activation in activations:
        for op in _ops_with(activation, dtype):
            yield f"{op.kind} + {activation}", _between(op)
    image: dict[str, Any] = {"dtype": dtype, "in_channels": WIDTH, "in_height": SIDE, "in_width": SIDE}
    block = {**image, "out_channels": WIDTH, "expand_channels": 3 * WIDTH, "kernel_size": 3}
    yield "block", _between(MBConvSpec(**block))
    yield "residual block", _between(MBConvSpec(has_residual=True, **block))
    yield "conv, stride 2", _between(ConvSpec(out_channels=WIDTH, kernel_size=3, stride=2, **image))
    yield "squeeze_excite", _between(SqueezeExciteSpec(squeeze_channels=8, **image))
    pools: tuple[Literal["average", "max"], ...] = ("average", "max")
    for pool in pools:
        yield f"pool, {pool}", _between(PoolSpec(pool=pool, kernel_size=3, **image))


def _ops_with(activation: Activation, dtype: Dtype) -> tuple[OpSpec, ...]:
    image: dict[str, Any] = {"dtype": dtype, "in_channels": WIDTH, "in_height": SIDE, "in_width": SIDE}
    image["activation"] = activation
    return (
        ConvSpec(out_channels=WIDTH, kernel_size=3, **image),
        DepthwiseConvSpec(kernel_size=3, **image),
        AddSpec(**image),
        LinearSpec(in_features=WIDTH, out_features=WIDTH, dtype=dtype, activation=activation),
    )


def _between(op: OpSpec) -> NetworkSpec:
    """The op after and before a plain convolution (or linear layer)."""
    if isinstance(op, LinearSpec):
        around: OpSpec = LinearSpec(in_features=WIDTH, out_features=WIDTH, dtype=op.dtype)
        layers = (("before", around), ("op", op), ("after", around))
        return NetworkSpec(name=op.key, layers=layers)
    before = _pointwise(op.dtype, SIDE)
    after = _pointwise(op.dtype, op.output_shape[2])
    return NetworkSpec(name=op.key, layers=(("before", before), ("op", op), ("after", after)))


def _pointwise(dtype: Dtype, side: int) -> ConvSpec:
    return ConvSpec(in_channels=WIDTH, in_height=side, in_width=side, out_channels=WIDTH, kernel_size=1, dtype=dtype)


def main(arguments: Sequence[str] | None = None) -> None:
    """Renew the rules of the named runtimes."""
    parser = argparse.ArgumentParser(prog="python -m latency_model.fusion.observe", description=__doc__)
    parser.add_argument("runtimes", nargs="+", choices=RUNTIMES)
    for runtime in parser.parse_args(arguments).runtimes:
        for dtype in DTYPES:
            path = rules_file(runtime, dtype)
            path.write_text(json.dumps(rules_to_json(observe_fusion(runtime, dtype)), indent=1) + "\n")
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
