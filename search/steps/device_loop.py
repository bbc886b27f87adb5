"""The device in the loop of a run: time what the search would derive now, and fit the predictor's correction again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from latency_model.fit import corrected_by
from latency_model.measurement import paid_ops
from profiler_agent.session import Session
from search.architecture_step import LatencyTarget
from search.device_loop import DeviceAnswer, DeviceLoop
from search.errors import RunFolderError
from search.files import read_json_lines
from search.run import Run
from search.settings import SearchSettings
from search.space import Choices
from search.steps.profile import planned_measurements, profile_if_any
from search.steps.search import latency_target, own_states
from search.steps.timing import measured_networks
from search.trainer import SearchFiles, SearchTrainer

PARTS = 7
"""Of a search: after each the devices are visited."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A run's open device, and the targets that it answers for."""

    run: Run
    session: Session
    target_names: frozenset[str]


def device_loop(runs: Sequence[Run], trainer: SearchTrainer, stack: ExitStack) -> DeviceLoop:
    """A visit to the devices after every seventh of the architecture steps: ``planned_visits`` in all.

    Args:
        runs: those that the search serves; each device is opened once.
        stack: closes the devices.
    Raises:
        RunFolderError: a run's predictor was fitted elsewhere, on measurements that it does not have.
    """
    sessions: dict[Path, Session] = {}
    asked = []
    for run in runs:
        require_own_profile(run)
        device_file = run.device.source_file.resolve()
        if device_file not in sessions:
            sessions[device_file] = stack.enter_context(run.open_device("search"))
        names = frozenset(state.target.name for state in own_states(run, trainer))
        asked.append(_Asked(run=run, session=sessions[device_file], target_names=names))

    def ask(_: int, targets: Sequence[LatencyTarget], choices: Sequence[Choices]) -> list[DeviceAnswer]:
        answers: dict[str, DeviceAnswer] = {}
        for one in asked:
            own = [index for index, target in enumerate(targets) if target.name in one.target_names]
            answers |= _ask_one(one, [targets[i] for i in own], [choices[i] for i in own], trainer.files)
        return [answers[target.name] for target in targets]

    return DeviceLoop(_every_steps(trainer.settings), ask)


def require_own_profile(run: Run) -> None:
    """Raise where there is nothing to fit the correction on again.

    Raises:
        RunFolderError: the run has no profile of its own.
    """
    if profile_if_any(run) is None:
        raise RunFolderError(
            f"The device in the loop fits the predictor of {run.folder.path} again, and its measurements are not in "
            f"{run.measurements}. Give the file of the profile that it was fitted on with --measurements, or search "
            "without the device in the loop."
        )


def _ask_one(
    one: _Asked, targets: Sequence[LatencyTarget], choices: Sequence[Choices], files: SearchFiles
) -> dict[str, DeviceAnswer]:
    """One device's answers, by the names of its targets."""
    run, widths = one.run, one.run.space.widths
    # The log, not memory, says what was asked before: a resumed search corrects by the same networks.
    asked = [
        (visit["width"], tuple(visit["choices"]))
        for visit in read_json_lines(files.device_loop)
        if visit["target"] in one.target_names
    ]
    now = [(target.width, chosen) for target, chosen in zip(targets, choices, strict=True)]
    networks = {
        (width, chosen): widths[width].network(chosen, "derived") for width, chosen in dict.fromkeys([*asked, *now])
    }
    measured = measured_networks(run, one.session, list(networks.values()))
    known = [measured[key][0] for key in dict.fromkeys(map(paid_ops, networks.values()))]
    corrected = corrected_by(run.predictor.op_predictor, planned_measurements(run), known)
    return {
        target.name: DeviceAnswer(
            measured[paid_ops(networks[chosen])][0].latency_ms,
            latency_target(widths[target.width], corrected, target.target_ms, target.name, target.width),
        )
        for target, chosen in zip(targets, now, strict=True)
    }


def times_nothing(settings: SearchSettings) -> DeviceLoop:
    """The loop of a worker that is not the first: it is never asked, and takes over what the first one learns."""

    def ask(_: int, targets: Sequence[LatencyTarget], __: Sequence[Choices]) -> list[DeviceAnswer]:
        raise AssertionError(f"only the first worker asks a device, about {targets}")

    return DeviceLoop(_every_steps(settings), ask)


def _every_steps(settings: SearchSettings) -> int:
    """A whole number of turns, so that every run of a shared search has had its steps when the devices are asked."""
    per_turn = settings.architecture_steps_per_turn
    return -(-settings.architecture_steps(per_turn) // PARTS) * per_turn


def planned_visits(settings: SearchSettings) -> int:
    """How often a search asks the devices: six or seven times, less often in a very short one."""
    per_turn = settings.architecture_steps_per_turn
    return settings.architecture_steps(per_turn) * per_turn // _every_steps(settings)
