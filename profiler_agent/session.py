"""Session: an open device. Models go in, each comes out once as a ``Timing``, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler_agent.agent_run import Job, JobResult
from profiler_agent.bundle import AGENT_SCRIPT, DeviceFile, device_file
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device, TimingPlan
from profiler_agent.errors import AgentFailed, AgentOutputError, ConfigError, ModelsFailed, ProxylessError, WrongDevice
from profiler_agent.facts import DeviceFacts, fingerprint_of, identify, public_details
from profiler_agent.job_queue import JobQueue
from profiler_agent.journal import load_object
from profiler_agent.readiness import wait_until_ready
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.resume import ResumeStore
from profiler_agent.runner import Batch, Runner
from profiler_agent.runners import make_runner
from profiler_agent.schedule import BatchSchedule, Group, reason_of
from profiler_agent.stability import quantile_of
from profiler_agent.timing import SessionSamples, Timing
from profiler_agent.transport import Transport
from profiler_agent.transports import open_transport

MODELS_PER_JOB = 48
_MOST_GIVEN_UP_IN_A_ROW = 6
_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 8.0


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model to time: ``.onnx`` or ``.tflite`` as the runtime wants it."""

    model_id: str
    path: Path


@contextmanager
def open_session(
    device: Device, *, work_dir: Path | None = None, transport: Transport | None = None
) -> Iterator[Session]:
    """Open a device: connect, identify it, bring agent and runner there, find the runtime.

    With ``work_dir`` a killed host resumes: opened again with the same folder and models, it takes over what the
    agent did meanwhile. ``transport`` replaces the one that the device file names.

    Raises:
        DeviceNotReady: the device is absent, refuses, is full, or lacks the runtime.
    """
    link = transport or open_transport(device.transport)
    try:
        with tempfile.TemporaryDirectory(prefix="proxyless-host-") as temporary:
            store = ResumeStore(work_dir if work_dir is not None else Path(temporary) / "work")
            session = Session(device, link, store, Path(temporary))
            try:
                yield session
            except BaseException:
                session.abandon(keep_run=work_dir is not None)
                raise
            session.finish()
    finally:
        link.close()


def clean_device(device: Device, *, transport: Transport | None = None) -> str:
    """Stop our agents on the device and remove our folder there; returns its path."""
    link = transport or open_transport(device.transport)
    try:
        shell = RemoteShell(link, reconnect_limit_s=device.guard.lease_s)
        folder = DeviceFolder(shell, device.directory)
        folder.stop_agents()
        folder.remove()
        return folder.path
    finally:
        link.close()


class Session:
    """Made by ``open_session``. ``facts`` says which device answered."""

    def __init__(self, device: Device, transport: Transport, store: ResumeStore, folder: Path) -> None:
        self.device = device
        self._store = store
        self._shell = RemoteShell(transport, reconnect_limit_s=device.guard.lease_s)
        details = identify(self._shell)
        self._fingerprint = fingerprint_of(details)
        self._require_fingerprint(device.fingerprint, "its file")
        self._folder = DeviceFolder(self._shell, device.directory)
        open_run = store.open_run()
        self._folder.sweep([open_run.name] if open_run else [])
        self._agent: DeviceFile = device_file(AGENT_SCRIPT)
        self._runner: Runner = make_runner(device, folder)
        self._folder.put([self._agent, *self._runner.files()])
        found = self._runner.probe(self._shell, self._folder)
        self._shell.after_reconnect = self._check_same_device
        self._queue = JobQueue(
            shell=self._shell,
            folder=self._folder,
            agent=self._agent,
            guard=device.guard,
            session=secrets.token_hex(8),
            fingerprint=self._fingerprint,
            store=store,
        )
        self._canary_baseline_ms: float | None = None
        self._back_off_s = _FIRST_BACK_OFF_S
        self._given_up_in_a_row = 0
        self._models_on_device: set[str] = set()
        self.facts = DeviceFacts(
            fingerprint=self._fingerprint,
            runtime_name=found.name,
            runtime_version=found.version,
            details={**public_details(details), **found.details},
        )
        self.ran_on: str | None = None

    def read_device_state(self) -> Mapping[str, Any]:
        """Load, pressure, memory, space, temperature and clocks of the device now; None for what it does not tell."""
        agent = self._folder.cached(self._agent.sha256)
        result = self._shell.insist('sh "$1" facts "$2"', agent, self._folder.path)
        facts = load_object(result.stdout.strip())
        if facts is None:
            raise AgentOutputError(f"The agent told these facts: {result.text[:200]!r}; that is no JSON object.")
        return facts

    def time_models(
        self,
        models: Sequence[ModelFile],
        *,
        canary: ModelFile,
        plan: TimingPlan | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Timing]:
        """Time every model and yield each once, as soon as it is settled.

        ``on_progress(done, total)`` counts models times the plan's sessions; repeats do not count.

        Raises:
            ConfigError: two models of one name, or a file that is not there.
            ModelsFailed: after all others were yielded, when some models crashed, hung or were refused.
            DeviceNotReady: the device was lost, filled up, stayed hot, busy, or held by another.
        """
        plan = plan or self.device.plan
        _require_models(models, canary)
        self._canary_baseline_ms = None
        progress = _Progress(len(models) * plan.session_count, on_progress)
        failures: dict[str, str] = {}
        for start in range(0, len(models), MODELS_PER_JOB):
            batch = models[start : start + MODELS_PER_JOB]
            yield from self._time_batch(batch, canary, plan, progress, failures)
        if failures:
            raise ModelsFailed(failures)

    def _time_batch(
        self,
        models: Sequence[ModelFile],
        canary: ModelFile,
        plan: TimingPlan,
        progress: _Progress,
        failures: dict[str, str],
    ) -> Iterator[Timing]:
        files = {model.model_id: device_file(model.path) for model in [*models, canary]}
        self._models_on_device.update(file.sha256 for file in files.values())
        schedule = BatchSchedule(tuple(m.model_id for m in models), plan, self.device.runtime.thread_count)
        used: list[str] = []
        waiting = [model.model_id for model in models]
        while groups := schedule.next_groups():
            used += self._run_groups(groups, schedule, files, canary.model_id, progress)
            settled = [m for m in waiting if m not in schedule.failures and schedule.is_settled(m)]
            waiting = [m for m in waiting if m not in settled]
            for model_id in settled:
                yield schedule.timing(model_id)
            self._back_off(schedule, plan)
        failures.update(schedule.failures)
        self._store.forget(used)
        gone = {file.sha256 for model_id, file in files.items() if model_id != canary.model_id}
        self._forget_models(gone - {files[canary.model_id].sha256})

    def _run_groups(
        self,
        groups: Sequence[Group],
        schedule: BatchSchedule,
        files: Mapping[str, DeviceFile],
        canary_id: str,
        progress: _Progress,
    ) -> list[str]:
        """Run each group as one job; returns the jobs' ids."""
        jobs: dict[str, tuple[Job, Group, Batch]] = {}
        for group in groups:
            paths = tuple(self._folder.cached(files[m].sha256) for m in (*group.model_ids, canary_id))
            batch = Batch(
                model_paths=paths,
                seed=group.number,
                plan=schedule.plan,
                model_limit_s=self.device.guard.model_limit_s,
            )
            job = self._job(batch, group)
            jobs[job.id] = (job, group, batch)

        def take(result: JobResult) -> None:
            _, group, batch = jobs[result.id]
            self._take_result(result, group, batch, schedule)
            progress.add(len(group.model_ids) if result.return_code == 0 else 0)

        self._queue.results(
            [job for job, _, _ in jobs.values()],
            self._runner.launcher(self._folder),
            before_run=lambda: self._make_ready(list(files.values())),
            take=take,
        )
        return list(jobs)

    def _make_ready(self, files: Sequence[DeviceFile]) -> None:
        wait_until_ready(self.device, self.read_device_state)
        self._folder.put(files)

    def _job(self, batch: Batch, group: Group) -> Job:
        content = self._runner.job_content(batch)
        text = json.dumps([self._fingerprint, group.number, group.model_ids]).encode()
        job_id = hashlib.sha256(content + text).hexdigest()[:24]
        return Job(id=job_id, limit_s=self._runner.job_limit_s(batch), content=content)

    def _take_result(self, result: JobResult, group: Group, batch: Batch, schedule: BatchSchedule) -> None:
        if result.return_code == 0 and not result.hit_limit:
            samples = self._runner.read(result.output, batch)
            schedule.succeeded(group, samples.sessions, result)
            self.ran_on = samples.ran_on
            self._given_up_in_a_row = 0
            return
        known = len(schedule.failures)
        schedule.failed(group, self._runner.culprit(result.output), reason_of(result))
        self._given_up_in_a_row += len(schedule.failures) - known
        if self._given_up_in_a_row >= _MOST_GIVEN_UP_IN_A_ROW:
            raise AgentFailed(
                f"{self._given_up_in_a_row} models in a row failed on {self.device.name}; the last: "
                f"{reason_of(result)}. Run `proxyless device check` for it."
            )

    def _back_off(self, schedule: BatchSchedule, plan: TimingPlan) -> None:
        """Rest while the canary is slower than it was: a hot or busy device gets time, within bounds. What stays
        slow is then flagged by its verdict."""
        latest = [sessions[-1] for sessions in schedule.sessions.values()]
        canary_ms = _slowest_canary_ms(latest, plan)
        if canary_ms is None:
            return
        if self._canary_baseline_ms is None or canary_ms < self._canary_baseline_ms:
            self._canary_baseline_ms = canary_ms
        is_slow = canary_ms > (1.0 + plan.canary_limit) * self._canary_baseline_ms
        self._back_off_s = min(2 * self._back_off_s, _LONGEST_BACK_OFF_S) if is_slow else _FIRST_BACK_OFF_S
        if is_slow and schedule.has_unsettled:
            time.sleep(self._back_off_s)

    def _require_fingerprint(self, wanted: str | None, who: str) -> None:
        if wanted is not None and wanted != self._fingerprint:
            raise WrongDevice(
                f"{self._shell.transport.address} has the fingerprint {self._fingerprint}, but {who} says {wanted}: "
                f"it is another device, or its system was changed. Plug in the right one, or correct "
                f"'fingerprint' in {self.device.source_file}."
            )

    def _check_same_device(self) -> None:
        now = fingerprint_of(identify(RemoteShell(self._shell.transport, reconnect_limit_s=0.0)))
        if now != self._fingerprint:
            raise WrongDevice(
                f"After the link was lost another device answered (fingerprint {now}, before {self._fingerprint}). "
                "Plug the first one in again and start again; what was measured is kept."
            )

    def _forget_models(self, sha256s: set[str]) -> None:
        self._folder.forget(sorted(sha256s))
        self._models_on_device -= sha256s

    def finish(self) -> None:
        """Leave only the cache of agent and runner behind; there is nothing to resume."""
        self._store.forget_all()
        self._forget_models(set(self._models_on_device))

    def abandon(self, *, keep_run: bool) -> None:
        """After an error: stop the agent if the link still stands; keep its folder when it may be resumed."""
        self._shell.reconnect_limit_s = 0.0
        self._queue.abandon(keep_run=keep_run)
        if not keep_run:
            with suppress(ProxylessError, OSError):
                self._forget_models(set(self._models_on_device))


class _Progress:
    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._done = 0
        self._report = report

    def add(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._report is not None:
            self._report(self._done, self._total)


def _slowest_canary_ms(sessions: Sequence[SessionSamples], plan: TimingPlan) -> float | None:
    canaries = [quantile_of(session.canary_ms, plan.low_quantile) for session in sessions if session.canary_ms]
    return max(canaries) if canaries else None


def _require_models(models: Sequence[ModelFile], canary: ModelFile) -> None:
    paths: dict[str, Path] = {}
    for model in models:
        if model.model_id in paths:
            raise ConfigError(f"Two models are called {model.model_id!r}; give each its own name.")
        paths[model.model_id] = model.path
    if paths.setdefault(canary.model_id, canary.path) != canary.path:
        raise ConfigError(f"The canary and another model are both called {canary.model_id!r}; give each its own name.")
    for model_id, path in paths.items():
        if not path.is_file():
            raise ConfigError(f"The model {model_id!r} has no file {path}.")
