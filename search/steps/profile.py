"""Step 1, profile: time every op of the space, and whole networks to calibrate with and to judge by."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rich.console import Console

from latency_model.campaign import CampaignPlan, run_campaign
from latency_model.campaign_targets import CampaignTargets, fits_into, plan_targets, run_targets
from latency_model.measurement import OVERHEAD_PROBE, Measurement, MeasurementSet, paid_ops
from latency_model.measurement_file import read_measurements
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import OpSpec
from search.errors import RunFolderError, SpaceError
from search.networks import reference_network, spread_choices
from search.progress import progress
from search.run import Run
from search.space import SearchSpace

ATTEMPTS = 3
MOST_THROTTLED = 0.05


@dataclass(frozen=True, kw_only=True)
class ProfilePlan:
    """What a profile times. ``reference``: MobileNetV2-like, where the space has one."""

    ops: tuple[NetworkSpec, ...]
    reference: NetworkSpec | None
    calibration: tuple[NetworkSpec, ...]
    held_out: tuple[NetworkSpec, ...]

    @property
    def networks(self) -> tuple[NetworkSpec, ...]:
        reference = () if self.reference is None else (self.reference,)
        return (OVERHEAD_PROBE, *self.ops, *reference, *self.calibration, *self.held_out)

    @property
    def targets(self) -> CampaignTargets:
        """All of it."""
        return CampaignTargets(
            ops=tuple(network.ops[0] for network in self.ops), networks=self.networks[len(self.ops) + 1 :]
        )

    @property
    def targets_to_choose_from(self) -> CampaignTargets:
        """Where time is short: the reference, which a budget may be a fraction of, and of the rest what tells most.

        Without networks to judge by: the few that fit are worth more as calibration, and judge by cross-validation.
        """
        always = () if self.reference is None else (self.reference,)
        ops = tuple(network.ops[0] for network in self.ops)
        return CampaignTargets(ops=ops, networks=(*always, *self.calibration), always=always)


def profile_plan(space: SearchSpace, calibration_count: int, held_out_count: int, seed: int) -> ProfilePlan:
    """All ops of the space; calibration networks of all sizes; uniformly random ones to judge by. Widths take turns."""
    rng = random.Random(f"{seed}/profile/{space.hash}")
    try:
        reference = reference_network(space)
    except SpaceError:
        reference = None
    widths = space.widths
    calibration = tuple(
        widths[i % len(widths)].network(spread_choices(widths[i % len(widths)], rng), f"cal{i}")
        for i in range(calibration_count)
    )
    held_out = tuple(widths[i % len(widths)].network(space.sample(rng), f"random{i}") for i in range(held_out_count))
    return ProfilePlan(
        ops=tuple(single_op_network(op) for op in space.unique_ops()),
        reference=reference,
        calibration=calibration,
        held_out=held_out,
    )


def plan_of(run: Run) -> ProfilePlan:
    preset = run.preset
    return profile_plan(run.space, preset.calibration_networks, preset.held_out_networks, run.settings.seed)


def targets_of(run: Run) -> CampaignTargets:
    """All of the plan when the run's minutes allow it, else what to choose from."""
    plan = plan_of(run)
    return plan.targets if fits_into(plan.targets, run.device, run.settings.minutes) else plan.targets_to_choose_from


def remaining(run: Run) -> CampaignPlan:
    """What is still to be timed."""
    return plan_targets(targets_of(run), run.device, run.measurements, run.settings.minutes)[0]


def describe_remaining(run: Run) -> str:
    """What --dry-run prints: how much is left, how long that takes, and whether it is all that the space asks for."""
    plan, minutes = plan_of(run), run.settings.minutes
    if fits_into(plan.targets, run.device, minutes):
        return str(remaining(run))
    return (
        f"{remaining(run)}\n  {len(plan.targets.ops)} ops and {len(plan.targets.networks)} networks do not fit into "
        f"{minutes:g} minutes: first what stands for the rest, then what is least sure"
    )


def profile(run: Run, console: Console) -> None:
    """Time what is not timed yet; what was timed while the device was throttled is timed again.

    With a limit of minutes, what tells the most in that time.

    Raises:
        DeviceNotReady: the device is absent, busy or lacks the runtime.
    """
    reference = plan_of(run).reference
    if reference is not None:
        run.write_network(reference)
    if remaining(run).is_finished:
        return
    with (
        run.timed("profile"),
        run.open_device("profile") as session,
        progress(console, "profile") as update,
    ):
        if run.settings.minutes is not None:
            targets, minutes = targets_of(run), run.settings.minutes
            run_targets(session, targets, run.measurements, minutes=minutes, on_progress=update)
            return
        for _ in range(ATTEMPTS):
            run_campaign(session, plan_of(run).networks, run.measurements, on_progress=update)
            if remaining(run).is_finished:
                return


def profile_if_any(run: Run) -> MeasurementSet | None:
    """What the run's predictor stands on; None where it was fitted elsewhere."""
    try:
        return planned_measurements(run)
    except RunFolderError:
        return None


def planned_measurements(run: Run) -> MeasurementSet:
    """The measurements of the plan, whatever else the file holds: what a predictor of this run is fitted on.

    A few networks may be left out that were timed, and each time while the device was throttled: a predictor does
    without them, as it does without ops that were never measured.

    Raises:
        RunFolderError: the profile is not finished; one of limited minutes must at least hold the reference.
    """
    if not run.measurements.exists():
        raise RunFolderError(
            f"{run.measurements} is not there; profile the device first (proxyless profile --device "
            f"{run.settings.device} --data {run.settings.data} --out {run.folder.path}), or name the file of a profile "
            "with --measurements."
        )
    plan = plan_of(run)
    wanted = {paid_ops(network) for network in plan.networks}
    needed = {paid_ops(network) for network in (OVERHEAD_PROBE, plan.reference) if network is not None}
    timed = read_measurements(run.measurements).measurements
    first: dict[tuple[OpSpec, ...], Measurement] = {}
    for measurement in timed:
        if measurement.is_usable and measurement.paid_ops in wanted:
            first.setdefault(measurement.paid_ops, measurement)
    if run.settings.minutes is not None and not fits_into(plan.targets, run.device, run.settings.minutes):
        wanted = needed = set() if plan.reference is None else {paid_ops(plan.reference)}
    missing = wanted - first.keys()
    throttled = missing & {measurement.paid_ops for measurement in timed} - needed
    if missing != throttled or len(missing) > MOST_THROTTLED * len(wanted):
        raise RunFolderError(
            f"{len(missing)} of {len(wanted)} networks are not timed yet, or only while the device was throttled; run "
            f"proxyless profile again when it is cool and quiet."
        )
    return MeasurementSet(tuple(first.values()))


def throttled_only(run: Run) -> int:
    """How many networks of the plan were timed, and each time while the device was throttled."""
    measured = read_measurements(run.measurements).measurements
    timed = {measurement.paid_ops for measurement in measured}
    usable = {measurement.paid_ops for measurement in measured if measurement.is_usable}
    return len({paid_ops(network) for network in plan_of(run).networks} & timed - usable)
