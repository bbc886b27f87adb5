"""Measurements: one timed network with all that makes it comparable, and sets of them that may be pooled."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_model.errors import MeasurementError, MixedMeasurementsError
from latency_model.network import NetworkSpec, single_op_network
from latency_model.op_timings import OpTimings, pooled_timings
from latency_model.ops import ActivationSpec, IdentitySpec, OpSpec, ZeroSpec
from profiler_agent.device import TimingPlan
from profiler_agent.stability import StabilityReport, Verdict, judge_timing
from profiler_agent.timing import Timing

if TYPE_CHECKING:
    import pandas as pd

# A model that does next to nothing: its latency is what a session costs around any model. Single ops carry it
# once each, a network once in all; with ops of 5-20 us the sum is 30-40 % too high without it.
OVERHEAD_PROBE = single_op_network(ActivationSpec(in_channels=1, in_height=1, in_width=1, activation="relu"))
_LEAST_OP_SHARE = 0.1
_OVERHEAD_ERROR = 0.1


@dataclass(frozen=True, kw_only=True)
class DeviceIdentity:
    """What two latencies must share to be comparable.

    Attributes:
        thread_count: None where nobody says, as of a published table; what is measured always has it.
        core_mask: the cores that run the models, in hexadecimal; None where the system chooses.
        burst_warmup_runs: untimed runs before each burst; None where nobody says. After one run networks took up to
            12 % longer than after three, ops did not.
    """

    device_name: str
    fingerprint: str
    runtime: str
    runtime_version: str
    thread_count: int | None
    accelerator: str = "cpu"
    core_mask: str | None = None
    burst_warmup_runs: int | None = None

    def __post_init__(self) -> None:
        if self.core_mask is not None:  # 0F and f are the same cores
            object.__setattr__(self, "core_mask", f"{int(self.core_mask, 16):x}")

    def __str__(self) -> str:
        count = self.thread_count
        threads = "1 thread" if count == 1 else f"{'unknown' if count is None else count} threads"
        accelerator = "" if self.accelerator == "cpu" else f" on {self.accelerator}"
        cores = "" if self.core_mask is None else f", cores {self.core_mask}"
        runtime = f"{self.runtime} {self.runtime_version}{accelerator}"
        return f"{self.device_name} ({self.fingerprint}), {runtime}, {threads}{cores}{self._unusual_warmup}"

    @property
    def _unusual_warmup(self) -> str:
        count = self.burst_warmup_runs
        is_usual = count in (None, TimingPlan().burst_warmup_runs)
        return "" if is_usual else f", {count} untimed {'run' if count == 1 else 'runs'} before each burst"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One network as timed on one device: the raw timing, and the statistics that were made of it."""

    network: NetworkSpec
    identity: DeviceIdentity
    plan: TimingPlan
    timing: Timing
    report: StabilityReport

    @property
    def latency_ms(self) -> float:
        """What the network costs when nothing disturbs it, at the pace of its batch (``StabilityReport``)."""
        return self.report.latency_ms

    @property
    def median_ms(self) -> float:
        return self.report.median_ms

    @property
    def spread(self) -> float:
        return self.report.spread

    @property
    def verdict(self) -> Verdict:
        return self.report.verdict

    @property
    def is_usable(self) -> bool:
        """Throttled latencies belong to another, slower device. Noisy ones are used with their spread."""
        return self.verdict != "throttled"

    @property
    def paid_ops(self) -> tuple[OpSpec, ...]:
        """The ops that cost something, in order: what makes two networks the same to a clock."""
        return paid_ops(self.network)


def paid_ops(network: NetworkSpec) -> tuple[OpSpec, ...]:
    return tuple(op for op in network.ops if not isinstance(op, IdentitySpec | ZeroSpec))


def measurement_of(network: NetworkSpec, identity: DeviceIdentity, plan: TimingPlan, timing: Timing) -> Measurement:
    """Judge a raw timing and keep both."""
    return Measurement(network=network, identity=identity, plan=plan, timing=timing, report=judge_timing(timing, plan))


@dataclass(frozen=True)
class MeasurementSet:
    """Measurements that may be pooled: one device, runtime and thread count.

    Raises:
        MixedMeasurementsError: measurements that are not comparable.
    """

    measurements: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        identities = dict.fromkeys(m.identity for m in self.measurements)
        if len(identities) > 1:
            first, second = list(identities)[:2]
            differing = [
                field.name
                for field in dataclasses.fields(DeviceIdentity)
                if getattr(first, field.name) != getattr(second, field.name)
            ]
            raise MixedMeasurementsError(
                f"Measurements of {len(identities)} devices or settings in one set: {first} and {second} "
                f"differ in {', '.join(differing)}. Their latencies cannot be compared: keep one file for each."
            )

    def __len__(self) -> int:
        return len(self.measurements)

    @property
    def identity(self) -> DeviceIdentity:
        """The device, runtime and threads of all the measurements.

        Raises:
            MeasurementError: the set is empty.
        """
        if not self.measurements:
            raise MeasurementError("No measurements. Profile the device first with `proxyless profile`.")
        return self.measurements[0].identity

    def usable(self) -> tuple[Measurement, ...]:
        """One measurement for each network: the latest accepted one, else the latest noisy one."""
        chosen: dict[tuple[OpSpec, ...], Measurement] = {}
        for measurement in self.measurements:
            if not measurement.is_usable:
                continue
            before = chosen.get(measurement.paid_ops)
            if before is None or measurement.verdict == "accepted" or before.verdict != "accepted":
                chosen[measurement.paid_ops] = measurement
        return tuple(chosen.values())

    def op_measurements(self) -> tuple[Measurement, ...]:
        """Usable measurements of one op alone, without the overhead probe."""
        return tuple(m for m in self.usable() if len(m.paid_ops) == 1 and m.paid_ops != OVERHEAD_PROBE.ops)

    def network_measurements(self) -> tuple[Measurement, ...]:
        """Usable measurements of networks of two and more ops."""
        return tuple(m for m in self.usable() if len(m.paid_ops) > 1)

    @property
    def session_overhead_ms(self) -> float:
        """What a session adds to any model, as the overhead probe measured it; 0 where it was not measured."""
        return next((m.latency_ms for m in self.usable() if m.paid_ops == OVERHEAD_PROBE.ops), 0.0)

    def op_timings(self) -> OpTimings:
        """The single ops as arrays, for predictors, without what the session added to each."""
        overhead_ms = self.session_overhead_ms
        rows = []
        for m in self.op_measurements():
            latency_ms = max(m.latency_ms - overhead_ms, _LEAST_OP_SHARE * m.latency_ms)
            error_ms = math.hypot(m.spread * m.latency_ms, _OVERHEAD_ERROR * overhead_ms)
            rows.append((m.paid_ops[0], latency_ms, error_ms / latency_ms))
        return pooled_timings(rows)

    def table(self) -> pd.DataFrame:
        """One row per measurement, in the order in which they were made."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        columns = ("network", "op_count", "latency_ms", "median_ms", "spread", "canary_drift", "verdict")
        rows = [
            (
                m.network.name,
                len(m.paid_ops),
                m.latency_ms,
                m.median_ms,
                m.spread,
                m.report.canary_drift,
                m.verdict,
            )
            for m in self.measurements
        ]
        table: pd.DataFrame = pd.DataFrame(rows, columns=list(columns))
        return table
