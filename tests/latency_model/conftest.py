"""A made-up device with known latencies: ops cost what a formula says, networks a little less than their sum."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from latency_model.cli import register
from latency_model.features import op_columns, op_costs
from latency_model.kernels import bytes_moved, kernels_of, macs
from latency_model.measurement import DeviceIdentity, Measurement, MeasurementSet, measurement_of, paid_ops
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, OpSpec, PoolSpec
from profiler_agent.device import TimingPlan
from profiler_agent.timing import SessionSamples, Timing

IDENTITY = DeviceIdentity(
    device_name="made-up",
    fingerprint="f00d",
    runtime="onnxruntime",
    runtime_version="1.0",
    thread_count=1,
    burst_warmup_runs=3,
)


@dataclass
class AnalyticDevice:
    """10 GMAC/s, 10 GB/s, 1 us a kernel alone; in a network ops run 6 % faster and stray by ``op_spread``, each
    ``taste`` in its own way; a byte of weights costs ``ms_per_weight_byte`` more in a network."""

    identity: DeviceIdentity = IDENTITY
    macs_per_ms: float = 1e7
    bytes_per_ms: float = 1e7
    kernel_ms: float = 0.001
    taste: int = 0
    noise: float = 0.003
    op_spread: float = 0.02
    constant_ms: float = 0.008
    ms_per_weight_byte: float = 0.0
    plan: TimingPlan = field(default_factory=lambda: TimingPlan(low_quantile=0.1))  # its noise only adds time
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def op_ms(self, op: OpSpec) -> float:
        return macs(op) / self.macs_per_ms + bytes_moved(op) / self.bytes_per_ms + self.kernel_ms * len(kernels_of(op))

    def in_network_ms(self, op: OpSpec) -> float:
        stray = np.random.default_rng(zlib.crc32(op.key.encode(), self.taste)).standard_normal()
        return self.op_ms(op) * (0.94 + self.op_spread * stray)

    def network_ms(self, network: NetworkSpec) -> float:
        ops = paid_ops(network)
        if len(ops) == 1:
            return self.op_ms(ops[0])
        read_ms = self.ms_per_weight_byte * float(op_costs(op_columns(ops)).weight_bytes.sum())
        return sum(map(self.in_network_ms, ops)) + self.constant_ms + read_ms

    def timing(self, network: NetworkSpec, model_id: str) -> Timing:
        rounds = self.plan.round_count
        sessions = []
        for _ in range(self.plan.session_count):
            base = self.network_ms(network) * (1 + self.noise * self.rng.standard_normal())
            samples = base * (1 + 0.2 * self.rng.exponential(0.1, rounds))
            sessions.append(
                SessionSamples(
                    samples_ms=tuple(map(float, samples)),
                    runs_per_burst=10,
                    involuntary_switches=(0,) * rounds,
                    canary_ms=(0.1,) * rounds,
                )
            )
        return Timing(model_id=model_id, sessions=tuple(sessions))

    def measure(self, networks: Sequence[NetworkSpec]) -> MeasurementSet:
        return MeasurementSet(tuple(self.measurement(network) for network in networks))

    def measurement(self, network: NetworkSpec) -> Measurement:
        return measurement_of(network, self.identity, self.plan, self.timing(network, network.name[:20]))


@pytest.fixture
def device() -> AnalyticDevice:
    return AnalyticDevice()


@pytest.fixture(scope="session")
def make_device():
    """``make_device(noise=..., op_spread=..., constant_ms=..., ...)``: another made-up device."""
    return AnalyticDevice


def random_network(rng: np.random.Generator, name: str) -> NetworkSpec:
    """A small network of MBConv blocks as a search space offers them: 28 pixels, three stages."""
    side, width = 14, 16
    layers: list[tuple[str, OpSpec]] = [
        (
            "stem",
            ConvSpec(
                in_channels=1, in_height=28, in_width=28, out_channels=16, kernel_size=3, stride=2,
                activation="relu6",
            ),
        )
    ]  # fmt: skip
    for stage, out in enumerate((24, 32)):
        for depth in range(3):
            stride = 2 if depth == 0 else 1
            if depth and rng.random() < 0.3:
                continue
            layers.append(
                (
                    f"s{stage}b{depth}",
                    MBConvSpec(
                        in_channels=width,
                        in_height=side,
                        in_width=side,
                        out_channels=out,
                        expand_channels=width * int(rng.choice([3, 6])),
                        kernel_size=int(rng.choice([3, 5, 7])),
                        stride=stride,
                        has_residual=depth > 0,
                    ),
                )
            )
            side, width = -(-side // stride), out
    layers.append(("pool", PoolSpec(in_channels=width, in_height=side, in_width=side, pool="global_average")))
    layers.append(("classifier", LinearSpec(in_features=width, out_features=10)))
    return NetworkSpec(name=name, layers=tuple(layers))


def networks_of(count: int, seed: int = 0) -> list[NetworkSpec]:
    rng = np.random.default_rng(seed)
    distinct: dict[tuple[OpSpec, ...], NetworkSpec] = {}
    while len(distinct) < count:
        network = random_network(rng, f"random{seed}-{len(distinct)}")
        distinct.setdefault(network.ops, network)
    found = list(distinct.values())
    rng.shuffle(found)  # short networks are drawn first: any two parts of the list shall be alike
    return found


@pytest.fixture(scope="session")
def make_networks():
    """``make_networks(count, seed)``: distinct random networks of one small space."""
    return networks_of


@pytest.fixture(scope="session")
def make_space_ops():
    """Every op that stands in the given networks, as networks of one op."""

    def space_ops(networks: Sequence[NetworkSpec]) -> list[NetworkSpec]:
        return [single_op_network(op) for op in dict.fromkeys(op for net in networks for op in net.ops)]

    return space_ops


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """A verb of the command line that succeeds: what it printed."""
    app = typer.Typer()
    register(app)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run
