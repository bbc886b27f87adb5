"""The agent alone, without a host that renews its lease: under every shell that devices have."""

import json
import subprocess
import threading
import time
from itertools import count
from pathlib import Path

import pytest

from profiler_agent.bundle import AGENT_SCRIPT


def start_agent(shell, run: Path, *, jobs: int, limit_s: int, runner: str, lease_s: int) -> None:
    """Run the agent to its end."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "job_list").write_text("".join(f"job{index} {limit_s}\n" for index in range(jobs)))
    (run / "runner").write_text(runner)
    (run / "lease").write_text("0\n")
    argv = [*shell, AGENT_SCRIPT, run, "session", str(lease_s), "1", "free"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=60, check=False)


def run_agent(shell, run: Path, **settings) -> list[dict]:
    """Run the agent to its end; returns the journal."""
    start_agent(shell, run, **settings)
    return [json.loads(line) for line in (run / "journal").read_text().splitlines()]


def kinds(journal) -> list[str]:
    return [record["t"] for record in journal]


def test_a_lease_that_nobody_renews_ends_the_agent_however_short_its_jobs_are(tmp_path, shell):
    started_s = time.monotonic()
    journal = run_agent(shell, tmp_path / "run-01", jobs=100, limit_s=30, runner="exec sleep 0.3\n", lease_s=2)
    assert time.monotonic() - started_s < 15
    assert journal[-1] == {"t": "bye", "why": "lease"}
    assert 1 <= kinds(journal).count("res") < 30


def test_a_lease_that_is_renewed_lets_many_short_jobs_end(tmp_path, shell):
    run = tmp_path / "run-01"
    run.mkdir()
    is_over = threading.Event()

    def renew():
        for word in count():
            (run / "lease").write_text(f"{word}\n")
            if is_over.wait(0.3):
                return

    host = threading.Thread(target=renew, daemon=True)
    host.start()
    journal = run_agent(shell, run, jobs=3, limit_s=30, runner="exec sleep 1.2\n", lease_s=2)
    is_over.set()
    assert journal[-1] == {"t": "bye", "why": "done"}
    assert kinds(journal).count("res") == 3


def test_each_job_has_a_limit_of_its_own(tmp_path, shell):
    runner = "case $1 in job1) exec sleep 60 ;; *) exec sleep 1.2 ;; esac\n"
    journal = run_agent(shell, tmp_path / "run-01", jobs=3, limit_s=2, runner=runner, lease_s=30)
    assert [record["limit"] for record in journal if record["t"] == "res"] == [False, True, False]
    assert [record["rc"] for record in journal if record["t"] == "res"] == [0, 137, 0]


@pytest.mark.parametrize("missing", [',"after":{"free_kb":1}}', "}"])
def test_a_result_torn_after_the_brace_of_its_facts_is_none(tmp_path, shell, missing):
    run = tmp_path / "run-01"
    run.mkdir()
    records = []
    for job in ("job1", "job0"):
        records.append(f'{{"t":"start","id":"{job}"}}')
        records.append(f'{{"t":"res","id":"{job}","rc":0,"before":{{"free_kb":1}},"after":{{"free_kb":1}}}}')
    (run / "journal").write_text("\n".join(records).removesuffix(missing))
    start_agent(shell, run, jobs=2, limit_s=30, runner="echo $1 >>ran\n", lease_s=30)
    assert (run / "ran").read_text() == "job0\n"


def test_the_watcher_ends_with_the_agent(tmp_path, shell):
    run = tmp_path / "run-01"
    run_agent(shell, run, jobs=2, limit_s=30, runner="exec true\n", lease_s=30)
    time.sleep(1.2)  # its sleep
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(run).encode() in read_quietly(path)]


def read_quietly(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
