"""Session: an open device. Models go in, each comes out once as a ``Timing``, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from profiler_agent.agent_facts import are_facts
from profiler_agent.batch_timing import BatchGone, BatchTimer, ModelBatch, Progress
from profiler_agent.bundle import AGENT_SCRIPT, DeviceFile, device_file
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device, TimingPlan
from profiler_agent.errors import AgentOutputError, ConfigError, ModelsFailed, ProxylessError, WrongDevice
from profiler_agent.facts import DeviceFacts, fingerprint_of, identify, public_details
from profiler_agent.job_queue import JobQueue
from profiler_agent.journal import load_object
from profiler_agent.op_profile import profile_ops
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.resume import ResumeStore
from profiler_agent.runner import Runner, RuntimeFound
from profiler_agent.runners import make_runner
from profiler_agent.runners.op_profile_text import OpTime
from profiler_agent.schedule import MODELS_PER_JOB
from profiler_agent.stopwatch import Stopwatch
from profiler_agent.timing import Timing
from profiler_agent.transport import Transport
from profiler_agent.transports import open_transport

MODELS_PER_BATCH = 6 * MODELS_PER_JOB
BATCH_BYTES = 256 << 20  # of model files on the device at a time
FACTS_LIMIT_S = 45.0  # the agent itself gives up what hangs: two tools after ten seconds each


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model to time: ``.onnx`` or ``.tflite`` as the runtime wants it."""

    model_id: str
    path: Path


@contextmanager
def open_session(
    device: Device,
    *,
    work_dir: Path | None = None,
    transport: Transport | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[Session]:
    """Open a device: connect, identify it, bring agent and runner there, find the runtime.

    With ``work_dir`` a killed host resumes: opened again with the same folder and models, it takes over what the
    agent did meanwhile. ``transport`` replaces the one that the device file names. ``on_wait`` is told why, when a hot,
    busy or held device is waited for.

    Raises:
        DeviceNotReady: the device is absent, refuses, is full, or lacks the runtime.
    """
    link = transport or open_transport(device.transport)
    try:
        with tempfile.TemporaryDirectory(prefix="proxyless-host-") as temporary:
            store = ResumeStore(work_dir if work_dir is not None else Path(temporary) / "work")
            use = Stopwatch()
            with use.running():
                session = Session(device, link, store, Path(temporary), use)
                session.tell_waits(on_wait)
            try:
                yield session
            except BaseException:
                session.abandon(keep_run=work_dir is not None)
                raise
            session.finish()
    finally:
        link.close()


class Session:
    """Made by ``open_session``. ``facts`` says which device answered."""

    def __init__(self, device: Device, transport: Transport, store: ResumeStore, folder: Path, use: Stopwatch) -> None:
        self.device = device
        self._use = use
        self._store = store
        self._shell = RemoteShell(transport, reconnect_limit_s=device.guard.lease_s)
        details = identify(self._shell)
        self._fingerprint = fingerprint_of(details)
        self._require_fingerprint(device.fingerprint, "its file")
        open_run = store.open_run()
        self._folder = DeviceFolder(self._shell, device.directory, keep_runs=[open_run.name] if open_run else [])
        self._agent = device_file(AGENT_SCRIPT)
        self._runner: Runner = make_runner(device, folder)
        self._folder.put([self._agent, *self._runner.files()])
        found = self._runner.probe(self._shell, self._folder)
        self._shell.after_reconnect = self._check_same_device
        self._models_place = f"models-{store.token()}"
        self._queue = JobQueue(
            shell=self._shell,
            folder=self._folder,
            agent=self._agent,
            guard=device.guard,
            session=secrets.token_hex(8),
            conditions=self._conditions(found),
            store=store,
        )
        self._timer = BatchTimer(
            device=device,
            folder=self._folder,
            runner=self._runner,
            queue=self._queue,
            models_place=self._models_place,
            read_state=self.read_device_state,
        )
        self.facts = DeviceFacts(
            fingerprint=self._fingerprint,
            runtime_name=found.name,
            runtime_version=found.version,
            details={**public_details(details), **found.details},
        )

    def _conditions(self, found: RuntimeFound) -> str:
        """All but a job's file that its result depends on. A host that resumes takes over what was timed under the
        very same: the device file may have been edited since, or the runtime updated."""
        launcher = self._runner.launcher(self._folder)
        words = [self._fingerprint, found.name, found.version, launcher, self.device.guard.fixed_performance]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]

    def tell_waits(self, on_wait: Callable[[str], None] | None) -> None:
        self._timer.on_wait = self._queue.on_wait = on_wait

    @property
    def ran_on(self) -> str | None:
        """The provider or delegate that the runtime ran the last models on; None before the first."""
        return self._timer.ran_on

    @property
    def runner_s(self) -> float:
        """How long the runners on the device worked so far, their start included; what is beyond it in a clock's
        time is our share."""
        return self._timer.runner_s

    @property
    def device_s(self) -> float:
        """How long the device was in use so far, by our clock: while it was opened, and while models were brought to
        it and timed, with the rests between. What we did meanwhile with what was timed is not in it."""
        return self._use.total_s

    @property
    def start_up_s(self) -> float:
        """How much of ``runner_s`` was the start of their interpreters."""
        return self._timer.start_up_s

    @property
    def waited_s(self) -> float:
        """How long a hot, busy or slowed device was left alone so far."""
        return self._timer.waited_s

    def read_device_state(self) -> Mapping[str, Any]:
        """Load, pressure, memory, space, temperature and clocks of the device now; None for what it does not tell."""
        agent = self._folder.cached(self._agent.sha256)
        result = self._shell.insist('sh "$1" facts "$2"', agent, self._folder.path, timeout_s=FACTS_LIMIT_S)
        facts = load_object(result.stdout.strip())
        if facts is None or not are_facts(facts):
            raise AgentOutputError(
                f"The agent told these facts: {result.text[:200]!r}; no agent of ours writes such. Run "
                "`proxyless device clean` for this device and start again."
            )
        return facts

    def profile_ops(self, model: Path) -> tuple[OpTime, ...]:
        """What each op of one model takes, in the order in which they ran. For looking, not for latencies: being
        watched slows a model by 3-27 %.

        Raises:
            ConfigError: the device's runner cannot tell.
            ModelsFailed: the model crashed, hung or was refused.
        """
        with self._use.running():
            return profile_ops(
                model,
                runner=self._runner,
                queue=self._queue,
                folder=self._folder,
                place=self._models_place,
                limit_s=self.device.guard.model_limit_s,
            )

    def time_models(
        self,
        models: Sequence[ModelFile],
        *,
        canary: ModelFile,
        company: Sequence[ModelFile] = (),
        plan: TimingPlan | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Timing]:
        """Time every model and yield each once, as soon as it is settled.

        ``company`` runs beside models that are too few to tell the device's pace, and is not yielded.
        ``on_progress(done, total)`` counts models times the plan's sessions; repeats do not count.

        Raises:
            ConfigError: two models of one name, or a file that is not there.
            ModelsFailed: after all others were yielded, when some models crashed, hung or were refused.
            DeviceNotReady: the device was lost, filled up, stayed hot, busy, or held by another.
        """
        plan = plan or self.device.plan
        _require_models([*models, *company], canary)
        progress = Progress(len(models) * plan.session_count, on_progress)
        canary_file = device_file(canary.path)
        self._timer.begin()
        todo = {model.model_id: device_file(model.path) for model in models}
        while todo:
            batch = self._left_batch(todo, canary_file, plan)
            if batch is None:
                files = first_batch(todo)
                batch = ModelBatch(files=files, canary=canary_file, plan=plan)
                hashes = {model_id: file.sha256 for model_id, file in files.items()}
                self._store.set_batch(hashes, canary_file.sha256, plan, self._queue.conditions)
            # A model of a dead host's batch is timed for its own sake, whatever this call takes it for.
            others = {m.model_id: device_file(m.path) for m in company if m.model_id not in batch.files}
            batch = replace(batch, company=others)
            with suppress(BatchGone):  # then what is left of them makes another one
                for timing in self._use.until_each(self._timer.time(batch, progress)):
                    if todo.pop(timing.model_id, None) is not None:
                        yield timing
                todo = {model_id: file for model_id, file in todo.items() if model_id not in batch.files}
            self._store.clear_batch()
        if failures := {m: why for m, why in self._timer.failures.items() if m in {x.model_id for x in models}}:
            raise ModelsFailed(failures)

    def _left_batch(self, todo: Mapping[str, DeviceFile], canary: DeviceFile, plan: TimingPlan) -> ModelBatch | None:
        """The batch that a killed host left half handed over, when it is of these models: its other members are
        taken along, so that its jobs are the same and none is run again."""
        left = self._store.batch(canary.sha256, plan, self._queue.conditions)
        known = [m for m in left if m in todo]
        if not known or any(todo[m].sha256 != left[m] for m in known):
            return None
        nowhere = self.device.source_file  # never read: most likely all results of these are there already
        files = {m: todo.get(m) or DeviceFile(sha256=sha256, path=nowhere) for m, sha256 in left.items()}
        return ModelBatch(files=files, canary=canary, plan=plan, gone=frozenset(left.keys() - todo.keys()))

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

    def finish(self) -> None:
        """Leave only the cache of agent and runner behind; there is nothing to resume, not even a run that never got
        its turn."""
        self._queue.abandon(keep_run=False)
        self._store.forget_all()
        if self._folder.places_filled:
            self._folder.remove_place(self._models_place)

    def abandon(self, *, keep_run: bool) -> None:
        """After an error: stop the agent if the link still stands; keep its folder when it may be resumed."""
        self._shell.reconnect_limit_s = 0.0
        self._queue.abandon(keep_run=keep_run)
        if not keep_run:
            with suppress(ProxylessError, OSError):
                self._folder.remove_place(self._models_place)


def first_batch(todo: Mapping[str, DeviceFile]) -> dict[str, DeviceFile]:
    """The models that are brought to the device together: the first, and as many more as count and bytes allow."""
    files: dict[str, DeviceFile] = {}
    size_bytes = 0
    for model_id, file in todo.items():
        size_bytes += file.path.stat().st_size
        if files and (len(files) == MODELS_PER_BATCH or size_bytes > BATCH_BYTES):
            break
        files[model_id] = file
    return files


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
