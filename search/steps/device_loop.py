"""The device in the loop of a run: time what the search would derive now, and fit the predictor's correction again."""

from __future__ import annotations

from collections.abc import Sequence

from latency_model.campaign import run_campaign
from latency_model.fit import fit_network_latency
from latency_model.measurement import Measurement, paid_ops
from profiler_agent.session import Session
from search.architecture_step import LatencyTarget
from search.device_loop import DeviceAnswer, DeviceLoop
from search.files import read_json_lines
from search.run import Run
from search.settings import SearchSettings
from search.space import Choices
from search.steps.profile import planned_measurements
from search.steps.search import latency_target
from search.trainer import SearchFiles

VISITS = 6


def device_loop(run: Run, session: Session, settings: SearchSettings) -> DeviceLoop:
    """A visit to the device after every seventh of the architecture steps: six in all, fewer in a very short search."""
    files = SearchFiles(folder=run.folder.search)

    def ask(_: int, targets: Sequence[LatencyTarget], choices: Sequence[Choices]) -> list[DeviceAnswer]:
        # The log, not memory, says what was asked before: a resumed search corrects by the same networks.
        widths = run.space.widths
        asked = [(visit["width"], tuple(visit["choices"])) for visit in read_json_lines(files.device_loop)]
        now = [(target.width, chosen) for target, chosen in zip(targets, choices, strict=True)]
        networks = {
            (width, chosen): widths[width].network(chosen, "derived") for width, chosen in dict.fromkeys([*asked, *now])
        }
        measurements = run_campaign(session, list(networks.values()), run.measurements).measurements
        measured: dict[object, Measurement] = {m.paid_ops: m for m in measurements if m.is_usable}
        known = [measured[key] for key in dict.fromkeys(map(paid_ops, networks.values())) if key in measured]
        planned = planned_measurements(run).network_measurements()
        corrected = fit_network_latency(run.predictor.op_predictor, [*planned, *known])
        return [
            DeviceAnswer(
                measured[paid_ops(networks[one])].latency_ms,
                latency_target(widths[target.width], corrected, target.target_ms, target.name, target.width),
            )
            for target, one in zip(targets, now, strict=True)
        ]

    return DeviceLoop(_every_steps(settings), ask)


def times_nothing(settings: SearchSettings) -> DeviceLoop:
    """The loop of a worker that is not the first: it is never asked, and takes over what the first one learns."""

    def ask(_: int, targets: Sequence[LatencyTarget], __: Sequence[Choices]) -> list[DeviceAnswer]:
        raise AssertionError(f"only the first worker asks a device, about {targets}")

    return DeviceLoop(_every_steps(settings), ask)


def _every_steps(settings: SearchSettings) -> int:
    return -(-settings.architecture_steps(1) // (VISITS + 1))
