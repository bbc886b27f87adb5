"""JobQueue: runs jobs on the device through agent runs, and takes over what an earlier host left running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from profiler_agent.agent_run import AgentRun, Job, JobResult
from profiler_agent.bundle import DeviceFile
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Guard
from profiler_agent.errors import ProxylessError
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.resume import OpenRun, ResumeStore


@dataclass
class JobQueue:
    """``results`` hands every job's result over once, also one that an earlier host fetched and did not use.
    ``conditions`` stand for all but its file that a job's result depends on. ``on_wait`` is told when another session
    holds the device."""

    shell: RemoteShell
    folder: DeviceFolder
    agent: DeviceFile
    guard: Guard
    session: str
    conditions: str
    store: ResumeStore
    on_wait: Callable[[str], None] | None = None
    _current: AgentRun | None = None

    def results(
        self,
        jobs: Sequence[Job],
        launcher: str,
        before_run: Callable[[Sequence[Job]], None],
        take: Callable[[JobResult], None],
    ) -> None:
        """Run jobs; ``before_run`` is called with those that must really run.

        Raises:
            what ``AgentRun.follow`` raises.
        """
        missing = []
        for job in jobs:
            known = self.store.result(job.id)
            if known is None:
                missing.append(job)
            else:
                self._take(known, take)
        if missing:
            before_run(missing)
            self._run(missing, launcher, take)

    def _run(self, jobs: Sequence[Job], launcher: str, take: Callable[[JobResult], None]) -> None:
        ids = tuple(job.id for job in jobs)
        run = self._left_run(ids)
        if run is None:
            run = self._new_run()
            run.prepare(jobs, launcher)
        # All jobs of the run, also those that hosts before took: the next one finds their results in the journal, too.
        job_ids = tuple(run.known_ids) or ids
        self.store.set_open_run(OpenRun(name=run.name, conditions=self.conditions, job_ids=job_ids))
        self._current = run
        run.start()

        def take_and_keep(result: JobResult) -> None:
            self._take(result, take)
            self.store.keep(result)

        run.follow(jobs, take_and_keep)
        self._current = None
        self.store.clear_open_run()
        self.folder.remove_run(run.name)

    def _take(self, result: JobResult, take: Callable[[JobResult], None]) -> None:
        """Junk, and failures that end all, are not kept for a host that is started again: it would read the same once
        more, whatever was mended meanwhile."""
        try:
            take(result)
        except ProxylessError:
            self.store.forget_failed()
            self.store.clear_open_run()
            self.store.clear_batch()
            raise

    def _left_run(self, ids: Sequence[str]) -> AgentRun | None:
        left = self.store.open_run()
        if left is None or left.conditions != self.conditions or not set(ids) <= set(left.job_ids):
            return None
        run = self._new_run()
        run.name = PurePosixPath(left.name).name
        run.known_ids = frozenset(left.job_ids)
        return run if run.exists() else None

    def _new_run(self) -> AgentRun:
        return AgentRun(self.shell, self.folder, self.agent, self.guard, self.session, on_wait=self.on_wait)

    def abandon(self, *, keep_run: bool) -> None:
        """Stop the agent if the link still stands, and remove its folder when nobody will resume it."""
        if self._current is None:
            return
        with suppress(ProxylessError, OSError):
            self._current.stop()
            if not keep_run:
                self.folder.remove_run(self._current.name)
                self._current = None
