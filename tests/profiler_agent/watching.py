"""What tests see of a run from outside: its log, its folders, its agent; and waiting until something is so."""

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from profiler_agent.session import open_session


def ids_of(timings):
    return sorted(timing.model_id for timing in timings)


def runs_log(fake_python: Path) -> list[str]:
    log = fake_python.parent / "runs.log"
    return log.read_text().split() if log.exists() else []


def run_folders(device) -> list[Path]:
    return sorted(Path(device.directory).glob("run-*"))


def wait_for(condition, limit_s=20.0):
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        if (found := condition()) is not None and found is not False:
            return found
        time.sleep(0.02)
    raise TimeoutError("the awaited state did not come")


def agent_pid(device) -> int | None:
    for folder in run_folders(device):
        with suppress(OSError, ValueError):
            pid = int((folder / "pid").read_text())
            os.kill(pid, 0)
            return pid
    return None


@contextmanager
def in_background(action):
    errors = []

    def guarded():
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert errors == []


def last_bye(run: Path) -> dict:
    """The agent's last record."""
    return json.loads((run / "journal").read_text().splitlines()[-1])


def time_all(device, files):
    """All timings of a session of its own, and the device's state after them."""
    with open_session(device) as session:
        timings = list(session.time_models(files, canary=files[0]))
        return timings, session.read_device_state()


def mark_of(root: Path) -> Path:
    """The agent's note that it may have fixed the clocks."""
    return root / "fixed_performance"
