"""A child process whose output is read as it comes, up to a cap and a time limit: no answer fills the host's memory."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from profiler_agent.transport import MAX_OUTPUT_BYTES, CommandResult

_CHUNK_BYTES = 64 << 10


def run_bounded(argv: Sequence[str], timeout_s: float, cap_bytes: int = 2 * MAX_OUTPUT_BYTES) -> CommandResult:
    """Run a program, its input closed, in a process group of its own. Above the cap it is ended, and what was read so
    far is returned: more than ``MAX_OUTPUT_BYTES``, which the caller refuses.

    Raises:
        subprocess.TimeoutExpired: the limit is over; the program was ended.
        OSError: it could not be started.
    """
    deadline_s = time.monotonic() + timeout_s
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    outputs: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        try:
            while selector.get_map() and sum(map(len, outputs.values())) <= cap_bytes:
                for key, _ in selector.select(_left_s(deadline_s, argv, timeout_s)):
                    chunk = os.read(key.fd, _CHUNK_BYTES)
                    outputs[key.data] += chunk
                    if not chunk:
                        selector.unregister(key.fileobj)
            if not selector.get_map():
                process.wait(_left_s(deadline_s, argv, timeout_s))
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return CommandResult(
        return_code=process.returncode, stdout=bytes(outputs["stdout"]), stderr=bytes(outputs["stderr"])
    )


def _left_s(deadline_s: float, argv: Sequence[str], timeout_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise subprocess.TimeoutExpired(list(argv), timeout_s)
    return left_s
