"""What a campaign for given networks times: their blocks or kernels, and whole networks to calibrate on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

from latency_model.active_campaign import plan_active_campaign, run_active_campaign
from latency_model.campaign import (
    CampaignPlan,
    Progress,
    TimingSession,
    mixed_batches,
    plan_campaign,
    run_campaign,
)
from latency_model.errors import MeasurementError, MixedMeasurementsError
from latency_model.experiment_design import choose_networks
from latency_model.grain import kernels_run_by
from latency_model.ingest import NamedKernel
from latency_model.measurement import OVERHEAD_PROBE, DeviceIdentity, MeasurementSet, paid_ops
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec, single_op_network
from latency_model.network_files import NamedNetwork
from latency_model.ops import IdentitySpec, OpSpec, ZeroSpec
from profiler_agent.device import Device
from profiler_agent.runners import job_seconds

CampaignGrain: TypeAlias = Literal["blocks", "kernels", "networks"]
GRAINS: tuple[CampaignGrain, ...] = ("blocks", "kernels", "networks")
_LEAST_PIECE = 2
_MOST_PIECES = 300


@dataclass(frozen=True, kw_only=True)
class CampaignTargets:
    """What is asked for.

    Attributes:
        ops: each distinct op once, to be timed alone.
        networks: whole networks, and pieces of them where there are few.
        unchained: names of foreign networks that are no chain of ops, so that only pieces of them can be timed.
        always: those of ``networks`` that are timed first, however short the time.
    """

    ops: tuple[OpSpec, ...]
    networks: tuple[NetworkSpec, ...]
    unchained: tuple[str, ...] = ()
    always: tuple[NetworkSpec, ...] = ()

    @property
    def everything(self) -> tuple[NetworkSpec, ...]:
        """All of it, ops and networks mixed, so that what is fitted and what calibrates are of the same minutes."""
        single = (OVERHEAD_PROBE, *map(single_op_network, self.ops)) if self.ops else ()
        return tuple(network for batch in mixed_batches((*single, *self.networks)) for network in batch)


def campaign_targets(
    networks: Sequence[NamedNetwork], grain: CampaignGrain, runtime: str, network_count: int
) -> CampaignTargets:
    """What to time for ``networks``.

    Args:
        grain: blocks as they stand, kernels as the runtime runs them, or whole networks alone.
        network_count: whole networks to calibrate on; where fewer are given, pieces of them are added, the ones that
            tell the most. With the grain "networks", how many of the given ones are timed.
    Raises:
        LatencyModelError: nobody observed what this runtime fuses into kernels.
        MeasurementError: the given networks leave nothing to time.
    """
    if grain == "kernels":
        ops = [op for network in networks for op in kernels_run_by(runtime, network.kernels.ops)]
    else:
        ops = [op for network in networks for op in network.ops if grain == "blocks"]
    chains = [(network.name, _as_one_model(network)) for network in networks]  # names may repeat: "derived" of each run
    whole = list({paid_ops(chain): chain for _, chain in chains if chain is not None}.values())
    if grain == "networks":
        chosen: tuple[NetworkSpec, ...] = choose_networks(whole, network_count) if whole else ()
    else:
        pieces = [piece for network in networks for piece in _pieces(network)]
        missing = network_count - len(whole)
        chosen = (*whole, *(choose_networks(pieces[:: _stride(pieces)], missing) if missing > 0 and pieces else ()))
    found = CampaignTargets(
        ops=tuple(op for op in dict.fromkeys(ops) if not isinstance(op, IdentitySpec | ZeroSpec)),
        networks=chosen,
        unchained=tuple(name for name, chain in chains if chain is None),
    )
    if not found.ops and not found.networks:
        raise MeasurementError(
            f"Nothing to time: {', '.join(found.unchained) or 'no network'} cannot be timed whole, as of a foreign "
            "network only a chain of ops can be written as a model. Use --grain kernels."
        )
    return found


def _as_one_model(network: NamedNetwork) -> NetworkSpec | None:
    """What can be written as a model: a network of ours as it is wired, a foreign one if it is a chain."""
    if network.spec is not None:
        return replace(network.spec, name=network.name)
    return _chain(network.name, network.layers)


def _stride(pieces: Sequence[NetworkSpec]) -> int:
    return -(-len(pieces) // _MOST_PIECES)


def _chain(name: str, layers: Sequence[NamedKernel]) -> NetworkSpec | None:
    """The layers as one network, if each takes what the one before it gives. Names in foreign files follow no rule."""
    if any(after.op.input_shape != before.op.output_shape for before, after in pairwise(layers)):
        return None
    return NetworkSpec(name=name, layers=tuple((f"layer{index}", layer.op) for index, layer in enumerate(layers)))


def _pieces(network: NamedNetwork) -> Iterator[NetworkSpec]:
    """Every shorter run of neighbouring layers that is a chain: networks of the same ops, of all sizes."""
    layers = [layer for layer in network.layers if not isinstance(layer.op, IdentitySpec | ZeroSpec)]
    for first in range(len(layers)):
        for end in range(first + _LEAST_PIECE, len(layers) + 1):
            piece = _chain(f"{network.name}[{first}:{end}]", layers[first:end])
            if piece is None:
                break
            if end - first < len(layers):
                yield piece


def plan_targets(
    targets: CampaignTargets, device: Device, measurements_path: Path, minutes: float | None
) -> tuple[CampaignPlan, bool]:
    """What is left to do, and whether all that is asked for is done: when not, what fits into ``minutes`` is chosen.

    What the file holds counts as part of the minutes, so that a finished campaign stays finished.

    Raises:
        MixedMeasurementsError: the file holds measurements of another device or other settings.
    """
    measured = read_measurements(measurements_path) if measurements_path.is_file() else None
    if measured is not None and len(measured):
        _check_settings(measured.identity, device, measurements_path)
    fits = fits_into(targets, device, minutes)
    if fits or minutes is None or not targets.ops:
        return plan_campaign(targets.everything, device.plan, measured, job_seconds(device)), fits
    left = plan_active_campaign(
        targets.ops, targets.networks, device, minutes=minutes, measured=measured, always=targets.always
    )
    return left, False


def _check_settings(measured: DeviceIdentity, device: Device, path: Path) -> None:
    """What can be told without opening the device: else a campaign that another device finished would be done."""
    runtime = device.runtime
    asked = replace(
        measured,
        device_name=device.name,
        runtime=runtime.name,
        thread_count=runtime.thread_count,
        accelerator=runtime.accelerator,
        core_mask=runtime.core_mask,
        burst_warmup_runs=device.plan.burst_warmup_runs,
    )
    names = [field.name for field in fields(asked) if getattr(measured, field.name) != getattr(asked, field.name)]
    if differing := [f"{name} {getattr(asked, name)}" for name in names]:
        raise MixedMeasurementsError(
            f"{path} holds measurements of {measured}; {device.source_file} asks for {', '.join(differing)}. Their "
            "latencies cannot be compared: give another file."
        )


def fits_into(targets: CampaignTargets, device: Device, minutes: float | None) -> bool:
    """Whether all that is asked for can be timed in ``minutes``, by the runner's estimate."""
    if minutes is None:
        return True
    return plan_campaign(targets.everything, device.plan, job_s=job_seconds(device)).estimated_seconds <= minutes * 60


def run_targets(
    session: TimingSession,
    targets: CampaignTargets,
    measurements_path: Path,
    *,
    minutes: float | None,
    on_progress: Progress | None = None,
) -> MeasurementSet:
    """Time all of it when it fits into ``minutes``, else what tells the most; what the file holds is not timed again.

    Raises:
        MixedMeasurementsError: the file holds measurements of another device.
        ModelsFailed: some networks could not be timed; all others are in the file.
    """
    if minutes is None or not targets.ops or fits_into(targets, session.device, minutes):
        return run_campaign(session, targets.everything, measurements_path, minutes=minutes, on_progress=on_progress)
    return run_active_campaign(
        session,
        targets.ops,
        targets.networks,
        measurements_path,
        minutes=minutes,
        always=targets.always,
        on_progress=on_progress,
    )
