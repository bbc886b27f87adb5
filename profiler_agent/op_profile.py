"""What each op of one model takes on a device: one job of its own, under the agent's lock and limits as all others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from profiler_agent.agent_run import Job, JobResult
from profiler_agent.bundle import device_file
from profiler_agent.deploy import DeviceFolder
from profiler_agent.errors import ConfigError, ModelsFailed
from profiler_agent.job_queue import JobQueue
from profiler_agent.runner import Runner
from profiler_agent.runners.benchmark_model import BenchmarkModelHostRunner
from profiler_agent.runners.op_profile_text import OpTime
from profiler_agent.schedule import reason_of

_JOB_MARGIN_S = 30


def profile_ops(
    model: Path, *, runner: Runner, queue: JobQueue, folder: DeviceFolder, place: str, limit_s: float
) -> tuple[OpTime, ...]:
    """See ``Session.profile_ops``. ``place`` is the folder below ours that takes the model; it is removed again."""
    if not isinstance(runner, BenchmarkModelHostRunner):
        raise ConfigError("Only runner.kind benchmark_model tells what each op takes; name a device file that has it.")
    if not model.is_file():
        raise ConfigError(f"There is no model file {model}.")
    file = device_file(model)
    content = runner.op_profile_content(f"{folder.path}/{place}/{file.sha256}", limit_s)
    digest = hashlib.sha256(content + queue.conditions.encode()).hexdigest()
    job = Job(id=digest[:24], limit_s=int(limit_s) + _JOB_MARGIN_S, content=content)
    results: list[JobResult] = []

    def bring(_: Sequence[Job]) -> None:
        folder.put([file], place)

    queue.results([job], runner.launcher(folder), before_run=bring, take=results.append)
    queue.store.forget([job.id])
    folder.remove_place(place)
    (result,) = results
    if result.return_code != 0 or result.hit_limit:
        raise ModelsFailed({model.name: reason_of(result)})
    return runner.read_op_profile(result.output)
