"""AgentRun: one run of the agent on the device, from its files to the last result, whatever the link does."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler_agent import run_scripts
from profiler_agent.bundle import DeviceFile
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Guard
from profiler_agent.errors import AgentFailed, AgentOutputError, AgentVersionError, DeviceBusy, DeviceFull
from profiler_agent.journal import PROTOCOL, Bye, Hello, JournalReader, Record, Result
from profiler_agent.remote_shell import RemoteShell, printable

MAX_JOB_OUTPUT_BYTES = 4 << 20
_STDERR_BYTES = 16_000  # the words before a traceback say why a process ended
_MAX_RESTARTS = 3
_START_LIMIT_S = 15.0
_END_LIMIT_S = 30.0
_LONGEST_SILENCE_S = 120.0  # beyond a job's limit
POLL_LIMIT_S = 20.0
_SHORTEST_POLL_S = 0.05
_POLL_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Job:
    """``limit_s`` is the agent's time limit; ``content`` the file that the runner reads."""

    id: str
    limit_s: int
    content: bytes


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What one runner process left. ``return_code`` None: it took the agent down twice."""

    id: str
    return_code: int | None
    hit_limit: bool
    output: bytes
    stderr: str
    facts_before: Mapping[str, Any] = field(default_factory=dict)
    facts_after: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class AgentRun:
    """Attributes:
    name: of the run's folder on the device; random, so that nobody guesses it.
    poll_s: between two looks at the journal, at most.
    known_ids: jobs whose results an earlier host took already.
    on_wait: is told once when another session holds the device.
    """

    shell: RemoteShell
    folder: DeviceFolder
    agent: DeviceFile
    guard: Guard
    session: str
    name: str = field(default_factory=lambda: f"run-{secrets.token_hex(8)}")
    poll_s: float = 0.4
    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    known_ids: frozenset[str] = frozenset()
    on_wait: Callable[[str], None] | None = None
    _lease: int = 0

    @property
    def path(self) -> str:
        return f"{self.folder.path}/{self.name}"

    def exists(self) -> bool:
        """Whether the run's folder, with all that the agent needs, is on the device."""
        return self.shell.insist('[ -e "$1/ready" ]', self.path).return_code == 0

    def prepare(self, jobs: Sequence[Job], launcher: str) -> None:
        """Make the run's folder and put the jobs there."""
        self.shell.insist('mkdir -p -m 700 "$1"', self.path)
        contents = {f"{job.id}.job": job.content for job in jobs}
        contents["job_list"] = "".join(f"{job.id} {job.limit_s}\n" for job in jobs).encode()
        contents["runner"] = launcher.encode()
        with tempfile.TemporaryDirectory(prefix="proxyless-") as temporary:
            files = []
            for name, content in contents.items():
                (Path(temporary) / name).write_bytes(content)
                files.append((Path(temporary) / name, name))
            self.shell.push(files, self.path)
        sums = " ".join(hashlib.sha256(content).hexdigest() for content in contents.values())
        if self.shell.insist(run_scripts.MAKE_READY, self.path, sums, *contents).return_code != 0:
            raise DeviceFull(
                f"The jobs did not arrive whole in {self.path} ({self.folder.free_kb()} kB free there). "
                "Free some space on the device and start again."
            )

    def start(self) -> None:
        """Start the agent, detached; harmless when it runs already."""
        self.shell.insist(
            run_scripts.START,
            self.path,
            self.folder.cached(self.agent.sha256),
            self.session,
            str(self.guard.lease_s),
            str(int(self.guard.min_free_mb * 1024)),
            "fixed" if self.guard.fixed_performance else "free",
        )

    def stop(self) -> None:
        """Ask the agent to end; it stops its runner."""
        self.shell.run(run_scripts.STOP, self.path, timeout_s=10)

    def follow(self, jobs: Sequence[Job], on_result: Callable[[JobResult], None]) -> None:
        """Tail the journal until every job has its result; each is handed over once.

        Raises:
            AgentFailed, DeviceBusy, DeviceFull, AgentOutputError, AgentVersionError, LinkLost
        """
        missing = {job.id for job in jobs}
        longest_s = max((job.limit_s for job in jobs), default=0) + _LONGEST_SILENCE_S
        reader = JournalReader()
        restarts = 0
        bye: Bye | None = None
        since_s = started_s = self.clock_s()
        while missing:
            state, records = self._poll(reader)
            for record in records:
                since_s = self.clock_s() if not isinstance(record, Bye) else since_s
                if isinstance(record, Bye):
                    bye = record
                elif isinstance(record, Hello):
                    bye = None
                    self._check_version(record)
                elif isinstance(record, Result):
                    self._take(record, missing, on_result)
            if not missing:
                break
            if bye is not None and bye.why == "busy":
                self._wait_for_the_other(bye, since_s)
                bye, started_s = None, self.clock_s()
            elif state == "gone":  # before that, a last record may be an earlier agent's, and ours has yet to begin
                if bye is not None and bye.why == "disk":
                    raise self._full(bye)
                restarts += 1
                self._require_restart(restarts, bye)
                bye, started_s = None, self.clock_s()
            elif state == "new" and self.clock_s() - started_s > _START_LIMIT_S:
                raise AgentFailed(f"The agent did not start on {self.shell.transport.address}: {self._last_words()}")
            else:
                self._require_words(self.clock_s() - max(since_s, started_s), longest_s)
                self.sleep(self._pause_s(self.clock_s() - since_s, len(missing)))
        if self.guard.fixed_performance and jobs:
            self._await_end(reader, bye)

    def _await_end(self, reader: JournalReader, bye: Bye | None) -> None:
        """The agent lets fixed clocks go before its last record: only then the device is what the next look at it, or
        the next run, expects. An agent that was killed in between is started once more, to do just that."""
        deadline_s = self.clock_s() + _END_LIMIT_S
        while bye is None and self.clock_s() < deadline_s:
            self.sleep(_SHORTEST_POLL_S)
            state, records = self._poll(reader)
            bye = next((record for record in records if isinstance(record, Bye)), None)
            if state == "gone" and bye is None:
                self.start()

    def _require_words(self, quiet_s: float, longest_s: float) -> None:
        """The agent ends each job at its limit, and says so. One that lives and does not was stopped, or what watches
        beside it was ended: nobody on the device would end the wait."""
        if quiet_s > longest_s:
            raise AgentFailed(
                f"The agent on {self.shell.transport.address} has said nothing for {quiet_s:.0f} s, and no job takes "
                f"longer than {longest_s - _LONGEST_SILENCE_S:.0f} s. Something on the device stopped it. Run "
                "`proxyless device clean` for this device and start again."
            )

    def _pause_s(self, quiet_s: float, missing_count: int) -> float:
        """Only the last result is waited for by somebody: there a look late costs a small part of the job's time."""
        if missing_count > 1:
            return self.poll_s
        return min(self.poll_s, max(_SHORTEST_POLL_S, _POLL_SHARE * quiet_s))

    def _poll(self, reader: JournalReader) -> tuple[str, list[Record]]:
        self._lease += 1
        word = f"{self.session}.{self._lease}"
        result = self.shell.insist(run_scripts.POLL, self.path, word, str(reader.offset + 1), timeout_s=POLL_LIMIT_S)
        state, _, data = result.stdout.partition(b"\n")
        if result.return_code != 0 or state not in (b"new", b"gone", b"alive"):
            raise AgentFailed(
                f"The run folder {self.path} vanished or cannot be read ({result.stderr.strip()}). Was the device "
                "cleaned by someone else? Start again."
            )
        return state.decode(), reader.feed(data)

    def _check_version(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL or hello.agent != self.agent.sha256:
            raise AgentVersionError(
                f"The agent on {self.shell.transport.address} is {hello.agent[:12]} (protocol {hello.protocol}); this "
                f"host speaks with {self.agent.sha256[:12]} (protocol {PROTOCOL}) only. Run `proxyless device clean` "
                "for this device and start again."
            )

    def _take(self, record: Result, missing: set[str], on_result: Callable[[JobResult], None]) -> None:
        if record.id in self.known_ids and record.id not in missing:
            return
        if record.id not in missing:
            raise AgentOutputError(f"The journal holds a result for {record.id!r}, which was not awaited.")
        output = self._fetch_output(record) if record.out_bytes else b""
        stderr = ""
        if record.return_code != 0:
            script = 'tail -c "$2" "$1" 2>/dev/null'
            words = self.shell.insist(script, f"{self.path}/{record.id}.err", str(_STDERR_BYTES))
            stderr = printable(words.stdout, _STDERR_BYTES).strip()
        missing.discard(record.id)
        on_result(
            JobResult(
                id=record.id,
                return_code=record.return_code,
                hit_limit=record.hit_limit,
                output=output,
                stderr=stderr,
                facts_before=record.before or {},
                facts_after=record.after or {},
            )
        )

    def _fetch_output(self, record: Result) -> bytes:
        if record.out_bytes is None or record.out_bytes > MAX_JOB_OUTPUT_BYTES:
            raise AgentOutputError(
                f"Job {record.id} left {record.out_bytes} bytes; the limit is {MAX_JOB_OUTPUT_BYTES}. Nothing was used."
            )
        script = 'head -c "$2" "$1"'
        path = f"{self.path}/{record.id}.out"
        output = self.shell.insist(script, path, str(record.out_bytes), timeout_s=60).stdout
        if hashlib.sha256(output).hexdigest() != record.out_sha256:
            raise AgentOutputError(f"The output of job {record.id} is not what the journal's hash says.")
        return output

    def _full(self, bye: Bye) -> DeviceFull:
        return DeviceFull(
            f"{self.shell.transport.address} has {'few' if bye.free_kb is None else bye.free_kb} kB free in "
            f"{self.folder.path}; a run keeps {self.guard.min_free_mb:.0f} MB free. Free some space, or lower "
            "guard.min_free_mb in the device file. Finished models are kept."
        )

    def _wait_for_the_other(self, bye: Bye, since_s: float) -> None:
        if self.on_wait is not None:
            self.on_wait(f"Another session (process {bye.pid or 'unknown'}) holds {self.shell.transport.address}.")
            self.on_wait = None
        if self.clock_s() - since_s > self.guard.wait_limit_s:
            raise DeviceBusy(
                f"Another session (process {bye.pid or 'unknown'}) has held {self.shell.transport.address} for "
                f"{self.guard.wait_limit_s:.0f} s. Wait for it, or end it: `proxyless device clean --force` does, with "
                "the device file that it uses."
            )
        self.sleep(self.poll_s)
        self.start()

    def _require_restart(self, restarts: int, bye: Bye | None) -> None:
        if restarts > _MAX_RESTARTS:
            raise AgentFailed(
                f"The agent on {self.shell.transport.address} ended {restarts} times without finishing "
                f"({bye.why if bye else 'killed'}): {self._last_words()}"
            )
        self.start()

    def _last_words(self) -> str:
        words = self.shell.insist('tail -c 500 "$1/agent.out" 2>/dev/null', self.path).text.strip()
        return words or "it said nothing."
