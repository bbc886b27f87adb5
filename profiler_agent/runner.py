"""Runner: the host's half of what times models on the device. One module in ``runners/`` for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from profiler_agent.bundle import DeviceFile
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import TimingPlan
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.timing import SessionSamples


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The models of one job, as paths on the device and with their names, the canary last, and the seed of order and
    inputs."""

    model_paths: tuple[str, ...]
    model_ids: tuple[str, ...]
    seed: int
    plan: TimingPlan
    model_limit_s: float


@dataclass(frozen=True, kw_only=True)
class RuntimeFound:
    name: str
    version: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Stands for the samples of a model that ran but whose latency is not the wanted one, such as one of the wrong
    processor. It will not be another time, so the model is not tried again."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchSamples:
    """The samples of each model of the batch, without the canary; what the runtime said it ran on; how long the
    runner's process worked, and how much of that was its start, where it tells."""

    sessions: tuple[SessionSamples | Refused, ...]
    ran_on: str
    runner_s: float | None = None
    start_up_s: float | None = None


JobSeconds: TypeAlias = Callable[[TimingPlan, int], float]  # about how long a job of so many models takes

# Seen on a quiet machine.
_SECONDS_PER_PROCESS = 0.8
_SECONDS_PER_LOAD = 0.02
JOB_MARGIN_S = 60
SLOWER_WHEN_BUSY = 5


def one_process_s(plan: TimingPlan, model_count: int) -> float:
    """About how long a job takes whose models share one process."""
    per_model_s = _SECONDS_PER_LOAD + (plan.round_count + 1) * (plan.burst_ms + plan.rest_ms) / 1e3
    return _SECONDS_PER_PROCESS + model_count * per_model_s


def one_process_limit_s(batch: Batch) -> int:
    """When the agent ends a job whose models share one process. The runner ends itself when a burst takes a model's
    limit, so this is for one that cannot: never below what the plan's own bursts and rests take on a busy machine, nor
    what models take there whose single run is longer than a burst (a hundred runs and more, with those repeated)."""
    count = len(batch.model_paths)
    takes_s = batch.model_limit_s * count + one_process_s(batch.plan, count)
    return int(JOB_MARGIN_S + SLOWER_WHEN_BUSY * takes_s)


class Runner(Protocol):
    """What the session needs of a kind of runner."""

    def files(self) -> Sequence[DeviceFile]:
        """What must be on the device."""

    def probe(self, shell: RemoteShell, folder: DeviceFolder) -> RuntimeFound:
        """Say which runtime is there; ``RuntimeMissing`` when none is."""

    def launcher(self, folder: DeviceFolder) -> str:
        """The sh script that runs one job: ``$1`` is its id, the working folder holds ``$1.job``. It ends with
        ``exec`` where it can, so that the agent's time limit reaches the right process."""

    def job_content(self, batch: Batch) -> bytes:
        """The job's file."""

    def expected_job_s(self, plan: TimingPlan, model_count: int) -> float:
        """About how long a job takes: how many models a job gets and how many jobs a run follows from it."""

    def job_limit_s(self, batch: Batch) -> int:
        """When the agent ends the job."""

    def read(self, output: bytes, batch: Batch) -> BatchSamples:
        """Read a finished job's output; ``AgentOutputError`` when anything is odd, with the model's name where it is
        one model's."""

    def culprit(self, output: bytes) -> int | None:
        """Which model of the batch a job that failed was working on, where its output tells."""

    def has_begun(self, output: bytes) -> bool:
        """Whether a job that failed got as far as its first model."""
