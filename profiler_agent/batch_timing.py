"""BatchTimer: times one batch of models, session after session, until each is settled or has failed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler_agent.agent_run import Job, JobResult
from profiler_agent.bundle import DeviceFile
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device, TimingPlan
from profiler_agent.errors import AgentFailed
from profiler_agent.job_queue import JobQueue
from profiler_agent.quantile import quantile_of
from profiler_agent.readiness import wait_until_ready
from profiler_agent.runner import Batch, Runner
from profiler_agent.schedule import BatchSchedule, Group, reason_of
from profiler_agent.timing import SessionSamples, Timing

_MOST_GIVEN_UP_IN_A_ROW = 6
_MOST_UNOPENED_IN_A_ROW = 2
_LAST_EXIT_CODE = 128  # beyond it sh tells a signal
_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 8.0


@dataclass(frozen=True, kw_only=True)
class ModelBatch:
    """Models that are timed together: files by id, and the canary's. ``company`` are models that run beside few others
    and are not asked for. ``gone`` are those of a dead host's batch whose files this host does not have."""

    files: Mapping[str, DeviceFile]
    canary: DeviceFile
    plan: TimingPlan
    company: Mapping[str, DeviceFile] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()

    @property
    def all_files(self) -> Mapping[str, DeviceFile]:
        """Those of the models and of their company, by id."""
        return {**self.files, **self.company}


class BatchGone(Exception):
    """A dead host's batch cannot be gone on with: it was not through with a model that this host does not have, and the
    device has not kept it."""


class Progress:
    """Counts models times sessions; repeats do not count beyond the total."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._done = 0
        self._report = report

    def add(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._report is not None:
            self._report(self._done, self._total)


@dataclass
class BatchTimer:
    """Attributes:
    models_place: the folder on the device, below ours, that takes the model files.
    failures: models given up, with the reason, over all batches.
    ran_on: what the runtime said it ran the last job on.
    runner_s: how long the runners' processes worked so far, their start included.
    start_up_s: how much of that was their interpreters' start.
    waited_s: how long a hot, busy or slowed device was left alone.
    on_wait: is told why, when a hot or busy device is waited for.
    """

    device: Device
    folder: DeviceFolder
    runner: Runner
    queue: JobQueue
    models_place: str
    read_state: Callable[[], Mapping[str, Any]]
    sleep: Callable[[float], None] = time.sleep
    on_wait: Callable[[str], None] | None = None
    failures: dict[str, str] = field(default_factory=dict)
    ran_on: str | None = None
    runner_s: float = 0.0
    start_up_s: float = 0.0
    waited_s: float = 0.0
    _last_canary_ms: float | None = None
    _canaries_ms: list[float] = field(default_factory=list)
    _back_off_s: float = _FIRST_BACK_OFF_S
    _given_up_in_a_row: int = 0
    _unopened_in_a_row: int = 0

    def begin(self) -> None:
        """Forget the canary and the failures of an earlier call."""
        self.failures = {}
        self._last_canary_ms = None
        self._canaries_ms = []
        self._given_up_in_a_row = self._unopened_in_a_row = 0

    def time(self, batch: ModelBatch, progress: Progress) -> Iterator[Timing]:
        """Yield each model's timing once. What was fetched is kept for a restarted host until the last one has
        been taken over.

        Raises:
            BatchGone: see there; what was yielded counts.
        """
        runtime = self.device.runtime
        schedule = BatchSchedule(
            tuple(batch.files),
            batch.plan,
            runtime.thread_count,
            runtime.core_mask,
            self.runner.expected_job_s,
            tuple(batch.company),
        )
        used: list[str] = []
        waiting = list(batch.files)
        while groups := schedule.next_groups():
            used += self._run_groups(groups, schedule, batch, progress)
            settled = [m for m in waiting if m not in schedule.failures and schedule.is_settled(m)]
            waiting = [m for m in waiting if m not in settled]
            for model_id in settled:
                yield schedule.timing(model_id)
            if schedule.has_unsettled:
                self._back_off(batch.plan)
        self.failures.update(schedule.failures)
        self.queue.store.forget(used)
        self.folder.remove_place(self.models_place)

    def _run_groups(
        self, groups: Sequence[Group], schedule: BatchSchedule, batch: ModelBatch, progress: Progress
    ) -> list[str]:
        """Run each group as one job; returns the jobs' ids."""
        self._last_canary_ms = None
        jobs = {}
        for group in groups:
            job_batch = self._job_batch(group, batch)
            job = self._job(job_batch, group)
            jobs[job.id] = (job, group, job_batch)

        def take(result: JobResult) -> None:
            _, group, job_batch = jobs[result.id]
            self._take_result(result, group, job_batch, schedule)
            progress.add(sum(m in batch.files for m in group.model_ids) if result.return_code == 0 else 0)

        def make_ready(missing: Sequence[Job]) -> None:
            wait_until_ready(self.device, self.read_state, sleep=self._wait, on_wait=self.on_wait)
            needed = {m for job in missing for m in jobs[job.id][1].model_ids}
            lost = [batch.files[m] for m in needed & batch.gone]
            if lost and not self.folder.has(lost, self.models_place):
                raise BatchGone
            files = [file for m, file in batch.all_files.items() if m in needed - batch.gone]
            self.folder.put([*files, batch.canary], self.models_place)

        listed = [job for job, _, _ in jobs.values()]
        self.queue.results(listed, self.runner.launcher(self.folder), before_run=make_ready, take=take)
        return list(jobs)

    def _job_batch(self, group: Group, batch: ModelBatch) -> Batch:
        files = [*(batch.all_files[model_id] for model_id in group.model_ids), batch.canary]
        return Batch(
            model_paths=tuple(f"{self.folder.path}/{self.models_place}/{file.sha256}" for file in files),
            model_ids=(*group.model_ids, "canary"),
            seed=group.number,
            plan=batch.plan,
            model_limit_s=self.device.guard.model_limit_s,
        )

    def _job(self, batch: Batch, group: Group) -> Job:
        content = self.runner.job_content(batch)
        text = json.dumps([self.queue.conditions, group.number, group.model_ids]).encode()
        job_id = hashlib.sha256(content + text).hexdigest()[:24]
        return Job(id=job_id, limit_s=self.runner.job_limit_s(batch), content=content)

    def _take_result(self, result: JobResult, group: Group, batch: Batch, schedule: BatchSchedule) -> None:
        if result.return_code == 0 and not result.hit_limit:
            samples = self.runner.read(result.output, batch)
            schedule.succeeded(group, samples.sessions, result)
            timed = [session for session in samples.sessions if isinstance(session, SessionSamples)]
            self._note_canary(timed[-1].canary_ms if timed else (), schedule.plan)
            self.ran_on = samples.ran_on
            self.runner_s += samples.runner_s or 0.0
            self.start_up_s += samples.start_up_s or 0.0
            self._given_up_in_a_row = self._unopened_in_a_row = 0
            return
        self._note_unopened(result, group)
        known = len(schedule.failures)
        schedule.failed(group, self.runner.culprit(result.output), reason_of(result))
        self._given_up_in_a_row += len(schedule.failures) - known
        if self._given_up_in_a_row >= _MOST_GIVEN_UP_IN_A_ROW:
            raise AgentFailed(
                f"{self._given_up_in_a_row} models in a row failed on {self.device.name}; the last: "
                f"{reason_of(result)}. Run `proxyless device check` for it."
            )

    def _note_unopened(self, result: JobResult, group: Group) -> None:
        """Give up a device whose runner ends before its first model: no model is to blame, and none need be sought."""
        has_ended = result.return_code is not None and result.return_code <= _LAST_EXIT_CODE and not result.hit_limit
        is_unopened = has_ended and len(group.model_ids) > 1 and not self.runner.has_begun(result.output)
        self._unopened_in_a_row = self._unopened_in_a_row + 1 if is_unopened else 0
        if self._unopened_in_a_row >= _MOST_UNOPENED_IN_A_ROW:
            raise AgentFailed(
                f"The runner on {self.device.name} ends before it opens a model: {reason_of(result)}. Mend the runtime "
                "there; `proxyless device check` tells more."
            )

    def _note_canary(self, canary_ms: Sequence[float], plan: TimingPlan) -> None:
        if not canary_ms:
            return
        self._last_canary_ms = quantile_of(canary_ms, plan.low_quantile)
        self._canaries_ms.append(self._last_canary_ms)

    def _back_off(self, plan: TimingPlan) -> None:
        """Rest while the canary of the job that ran last is slower than it was: a hot or busy device gets time,
        within bounds. What stays slow is then flagged by its verdict. The canaries of most jobs are slower than what
        one is held against: where the device's pace wanders, the fastest of many is nobody's measure."""
        if self._last_canary_ms is None:
            return
        usual_ms = quantile_of(self._canaries_ms, plan.low_quantile)
        if self._last_canary_ms <= (1.0 + plan.canary_limit) * usual_ms:
            self._back_off_s = _FIRST_BACK_OFF_S
            return
        self._wait(self._back_off_s)
        self._back_off_s = min(2 * self._back_off_s, _LONGEST_BACK_OFF_S)

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds
        self.sleep(seconds)
