"""ResumeStore: what a killed host needs to go on: the open agent run, and the results already fetched."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler_agent.agent_run import JobResult
from profiler_agent.device import TimingPlan
from profiler_agent.errors import ProxylessError

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """An agent run whose results were not all fetched."""

    name: str
    conditions: str
    job_ids: tuple[str, ...]


class ResumeStore:
    """A folder of small files, each written beside and renamed. A file that cannot be read is as good as none:
    its job is then measured again."""

    def __init__(self, folder: Path) -> None:
        self._results = folder / "job_results"
        self._open_run = folder / "open_run.json"
        self._batch = folder / "batch.json"
        self._token = folder / "token.json"
        try:
            self._results.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProxylessError(f"The work folder {folder} cannot be made: {error.strerror}.") from error

    def token(self) -> str:
        """A random word that stays the same for this folder; it names our model files on the device."""
        token = _read(self._token).get("token")
        if not isinstance(token, str) or re.fullmatch("[0-9a-f]{16}", token) is None:
            token = secrets.token_hex(8)
            _write(self._token, {"schema": SCHEMA, "token": token})
        return token

    def batch(self, canary_sha256: str, plan: TimingPlan, conditions: str) -> dict[str, str]:
        """Id to content hash of the models of the batch that was not wholly handed over; empty when there is none
        or when it was timed with another canary or plan, or under other conditions."""
        data = _read(self._batch)
        models = data.get("models")
        wanted = {"canary": canary_sha256, "plan": asdict(plan), "conditions": conditions}
        is_same = all(data.get(key) == value for key, value in wanted.items())
        return dict(models) if is_same and isinstance(models, dict) else {}

    def set_batch(self, models: Mapping[str, str], canary_sha256: str, plan: TimingPlan, conditions: str) -> None:
        data = {"models": dict(models), "canary": canary_sha256, "plan": asdict(plan), "conditions": conditions}
        _write(self._batch, {"schema": SCHEMA, **data})

    def clear_batch(self) -> None:
        self._batch.unlink(missing_ok=True)

    def open_run(self) -> OpenRun | None:
        data = _read(self._open_run)
        try:
            return OpenRun(name=data["name"], conditions=data["conditions"], job_ids=tuple(data["job_ids"]))
        except (KeyError, TypeError):
            return None

    def set_open_run(self, run: OpenRun) -> None:
        data = {"name": run.name, "conditions": run.conditions, "job_ids": list(run.job_ids)}
        _write(self._open_run, {"schema": SCHEMA, **data})

    def clear_open_run(self) -> None:
        self._open_run.unlink(missing_ok=True)

    def keep(self, result: JobResult) -> None:
        """Store a result, until ``forget`` is told that it has been handed over."""
        data = {
            "schema": SCHEMA,
            "id": result.id,
            "return_code": result.return_code,
            "hit_limit": result.hit_limit,
            "output": base64.b64encode(result.output).decode(),
            "stderr": result.stderr,
            "facts_before": dict(result.facts_before),
            "facts_after": dict(result.facts_after),
        }
        _write(self._results / f"{result.id}.json", data)

    def result(self, job_id: str) -> JobResult | None:
        data = _read(self._results / f"{job_id}.json")
        try:
            data.pop("schema")
            return JobResult(**{**data, "output": base64.b64decode(data["output"])})
        except (KeyError, TypeError, ValueError):
            return None

    def forget(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            (self._results / f"{job_id}.json").unlink(missing_ok=True)

    def forget_failed(self) -> None:
        """Of the results kept, those of jobs that failed."""
        for path in self._results.glob("*.json"):
            if _read(path).get("return_code") != 0:
                path.unlink(missing_ok=True)

    def forget_all(self) -> None:
        self.clear_open_run()
        self.clear_batch()
        for path in self._results.glob("*.json"):
            path.unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and data.get("schema") == SCHEMA else {}


def _write(path: Path, data: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ProxylessError(f"{path} cannot be written: {error.strerror}. Free some space and start again.") from error
