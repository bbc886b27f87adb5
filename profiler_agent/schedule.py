"""The schedule of one batch: which models need another session, which one to suspect when a job fails."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from profiler_agent.agent_run import JobResult
from profiler_agent.clocks import clocks_of_facts
from profiler_agent.device import TimingPlan
from profiler_agent.errors import AgentFailed
from profiler_agent.load import load_of_facts
from profiler_agent.pace import LEAST_MODELS, PaceKeeper
from profiler_agent.runner import JobSeconds, Refused, one_process_s
from profiler_agent.stability import judge_timing
from profiler_agent.timing import SessionSamples, Timing

MODELS_PER_JOB = 48
JOBS_PER_RUN = 24
_FEWEST_PER_JOB = 8  # a job has a canary beside them
_RUN_S = 60.0  # about; between two runs the host looks whether the device is hot
_MAX_LONELY_FAILURES = 2
_CANARY = ""  # its name beside those of models


@dataclass(frozen=True, kw_only=True)
class Group:
    """Models that share one job. ``number`` makes its seed and its id, so no two groups of a batch are alike."""

    model_ids: tuple[str, ...]
    number: int


@dataclass
class BatchSchedule:
    """Pure bookkeeping: hands out groups to run, takes what came of them, and says which models are settled.

    ``expected_job_s(plan, model_count)`` is the runner's: about how long a job takes. ``company``: models that nobody
    asks for, to run beside those of a batch that are too few to tell the pace of a round."""

    model_ids: tuple[str, ...]
    plan: TimingPlan
    thread_count: int
    core_mask: str | None = None
    expected_job_s: JobSeconds = one_process_s
    company: tuple[str, ...] = ()
    sessions: dict[str, list[SessionSamples]] = field(default_factory=dict)
    facts: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    _canary_failures: int = 0
    _lonely_failures: dict[str, int] = field(default_factory=dict)
    _suspects: list[tuple[str, ...]] = field(default_factory=list)
    _planned: list[tuple[str, ...]] = field(default_factory=list)
    _judged: dict[str, tuple[int, bool]] = field(default_factory=dict)  # after how many sessions, and whether settled
    _group_count: int = 0
    _jobs: dict[str, list[int]] = field(default_factory=dict)  # of each model's sessions, as the pace knows them
    _failed_company: set[str] = field(default_factory=set)
    _turn_count: int = 0

    def __post_init__(self) -> None:
        self._pace = PaceKeeper(self.plan.low_quantile)

    def next_groups(self) -> list[Group]:
        """The groups to run now, in one agent run of about a minute; empty when every model is settled or has
        failed. All models get their first session, then all their second: a slow minute meets each of them once."""
        wanted = [*self._suspects, *self._planned_parts()]
        suspect_count = len(self._suspects)
        groups: list[Group] = []
        seconds = 0.0
        for index, part in enumerate(wanted):
            model_ids = part if index < suspect_count else self._in_company(part)
            seconds += self.expected_job_s(self.plan, len(model_ids) + 1)  # the canary
            if groups and (seconds > _RUN_S or len(groups) == JOBS_PER_RUN):
                break
            groups.append(self._group(model_ids))
        left = wanted[len(groups) :]
        suspects_left = max(suspect_count - len(groups), 0)
        self._suspects, self._planned = left[:suspects_left], left[suspects_left:]
        return groups

    def _planned_parts(self) -> list[tuple[str, ...]]:
        """What is left of the plan, or else a new one; without what is suspected, which is run by itself."""
        if parts := self._without_suspects(self._planned):
            return parts
        sessions_left = {model_id: self._sessions_left(model_id) for model_id in self._unsettled()}
        planned = []
        for turn in range(max(sessions_left.values(), default=0)):
            ids = [model_id for model_id, left in sessions_left.items() if left > turn]
            planned += mixed_parts(ids, self._models_per_job, self._turn_count)
            self._turn_count += 1
        return self._without_suspects(planned)

    def _without_suspects(self, parts: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        gone = {model_id for group in self._suspects for model_id in group} | self.failures.keys()
        kept = (tuple(model_id for model_id in part if model_id not in gone) for part in parts)
        return [part for part in kept if part]

    @property
    def _models_per_job(self) -> int:
        """As many as one run has time for, the canary included, where that is not too few."""
        one_s = self.expected_job_s(self.plan, 1)
        each_s = self.expected_job_s(self.plan, 2) - one_s
        return max(_FEWEST_PER_JOB, min(MODELS_PER_JOB, int((_RUN_S - one_s) / each_s)))

    def _sessions_left(self, model_id: str) -> int:
        """Those that the plan asks of every model, then one at a time."""
        return max(self.plan.session_count - len(self.sessions.get(model_id, ())), 1)

    def _in_company(self, model_ids: tuple[str, ...]) -> tuple[str, ...]:
        """With others beside them where they alone are too few to tell the pace of a round."""
        missing = LEAST_MODELS - 1 - len(model_ids)  # one is the canary
        if missing <= 0 or self.thread_count > 1:
            return model_ids
        settled = [model_id for model_id in self.model_ids if self._is_company(model_id)]
        willing = [m for m in (*settled, *self.company) if m not in self._failed_company]
        return (*model_ids, *willing[:missing])

    def _is_company(self, model_id: str) -> bool:
        """Whether the model is there for others' sake alone."""
        return model_id in self.company or (model_id not in self.failures and self.is_settled(model_id))

    def succeeded(self, group: Group, sessions: Sequence[SessionSamples | Refused], result: JobResult) -> None:
        clocks = clocks_of_facts(result.facts_before, result.facts_after)
        load = load_of_facts(result.facts_before, result.facts_after)
        job = self._pace.add(_by_model(group, sessions))
        for model_id, samples in zip(group.model_ids, sessions, strict=True):
            if self._is_company(model_id):
                self._failed_company |= {model_id} if isinstance(samples, Refused) else set()
                continue
            if isinstance(samples, Refused):
                self.failures[model_id] = samples.reason
                self._forget(model_id)
                continue
            self.sessions.setdefault(model_id, []).append(replace(samples, clocks=clocks, load=load))
            self._jobs.setdefault(model_id, []).append(job)
            first = self.facts.get(model_id)
            self.facts[model_id] = (first[0] if first else result.facts_before, result.facts_after)

    def failed(self, group: Group, culprit: int | None, reason: str) -> None:
        """A model that fails alone twice is given up; the others of its job are run again without it. When the
        job does not tell which model it was, it is halved. A canary that fails twice ends all: it is in every job.
        Models that kept others company are not asked to do so again.

        Raises:
            AgentFailed: the canary is what fails.
        """
        ids = group.model_ids
        company = {model_id for model_id in ids if self._is_company(model_id)}
        self._failed_company |= company
        if company and (culprit is None or (culprit < len(ids) and ids[culprit] in company)):
            return  # the others' turn comes again, without it
        if culprit == len(ids):
            self._canary_failures += 1
            if self._canary_failures >= _MAX_LONELY_FAILURES:
                raise AgentFailed(
                    f"The canary model, which is timed beside all others, failed: {reason}. None of the others is to "
                    "blame; name another canary, or run it alone to see what the runtime says about it."
                )
            return
        if len(ids) == 1:
            count = self._lonely_failures[ids[0]] = self._lonely_failures.get(ids[0], 0) + 1
            if count >= _MAX_LONELY_FAILURES:
                self.failures[ids[0]] = reason
                self._forget(ids[0])
            return
        if culprit is not None and culprit < len(ids):
            self._suspect((ids[culprit],))
            return
        half = len(ids) // 2
        self._suspect(ids[:half])
        self._suspect(ids[half:])

    def _forget(self, model_id: str) -> None:
        self.sessions.pop(model_id, None)
        self._jobs.pop(model_id, None)

    def timing(self, model_id: str) -> Timing:
        before, after = self.facts[model_id]
        return Timing(
            model_id=model_id,
            sessions=tuple(
                replace(session, pace=self._pace_of(job))
                for session, job in zip(self.sessions[model_id], self._jobs[model_id], strict=True)
            ),
            facts_before=dict(before),
            facts_after=dict(after),
            thread_count=self.thread_count,
            core_mask=self.core_mask,
        )

    def _pace_of(self, job: int) -> tuple[float, ...] | None:
        """None of several threads: other programs that keep them waiting must show."""
        return self._pace.of(job) if self.thread_count == 1 else None

    def is_settled(self, model_id: str) -> bool:
        """Whether the model needs no more sessions: enough of them agree, or the plan allows no more. Once settled, it
        stays so."""
        count = len(self.sessions.get(model_id, ()))
        known = self._judged.get(model_id)
        if known is None or (known[0] != count and not known[1]):
            known = self._judged[model_id] = (count, self._has_enough(model_id, count))
        return known[1]

    def _has_enough(self, model_id: str, count: int) -> bool:
        if count < self.plan.session_count:
            return False
        return count >= self.plan.max_sessions or judge_timing(self.timing(model_id), self.plan).verdict == "accepted"

    @property
    def has_unsettled(self) -> bool:
        return bool(self._unsettled())

    def _unsettled(self) -> list[str]:
        return [m for m in self.model_ids if m not in self.failures and not self.is_settled(m)]

    def _suspect(self, model_ids: tuple[str, ...]) -> None:
        if model_ids and model_ids not in self._suspects:
            self._suspects.append(model_ids)

    def _group(self, model_ids: Sequence[str]) -> Group:
        self._group_count += 1
        return Group(model_ids=tuple(model_ids), number=self._group_count)


def _by_model(group: Group, sessions: Sequence[SessionSamples | Refused]) -> dict[str, list[float | None]]:
    """What the samples of a job say of its rounds, the canary's among them; None for a preempted one."""
    found: dict[str, list[float | None]] = {}
    for model_id, session in zip(group.model_ids, sessions, strict=True):
        if isinstance(session, Refused) or len(session.canary_ms) != len(session.samples_ms):
            continue
        found[_CANARY] = list(session.canary_ms)
        found[model_id] = [
            None if count else ms for ms, count in zip(session.samples_ms, session.involuntary_switches, strict=True)
        ]
    return found


def mixed_parts(model_ids: Sequence[str], models_per_job: int = MODELS_PER_JOB, turn: int = 0) -> list[tuple[str, ...]]:
    """Parts of nearly equal size for one job each. Neighbours go to different jobs: the level of a device differs a
    little from process to process, and no kind of model is to have a process to itself. Each turn mixes anew: two jobs
    are compared by the models that were in both."""
    count = math.ceil(len(model_ids) / models_per_job)
    parts: list[list[str]] = [[] for _ in range(count)]
    for index, model_id in enumerate(model_ids):
        parts[(index + turn * (index // count)) % count].append(model_id)
    return [tuple(part) for part in parts]


_MARKS = re.compile(r"^[ ^~]+$\n?", re.MULTILINE)  # under a line of Python's traceback


def reason_of(result: JobResult) -> str:
    """Why a runner process failed, in words."""
    words = _MARKS.sub("", result.stderr[-300:]).strip()
    last_words = f": {words}" if words else ""
    code = result.return_code
    # 128 + SIGALRM, by which the native runner ends itself; a traceback by which the python runner does
    if result.hit_limit or code == 142 or "Timeout (" in result.stderr:  # noqa: PLR2004
        return "it did not end within its time limit"
    if code is None:
        return "it took the agent down twice"
    if code == 137:  # noqa: PLR2004 - 128 + SIGKILL
        return "its process was killed, most likely because the device ran out of memory"
    if code > 128:  # noqa: PLR2004 - how sh tells a signal
        return f"its process crashed (signal {code - 128}){last_words}"
    return f"its process ended with exit code {code}{last_words}"
