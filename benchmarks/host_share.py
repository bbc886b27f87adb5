"""What the host adds to the time that the runner measures, on this machine with one thread and the default plan.

300 inverted bottlenecks (``--quick``: 96) are timed through the local transport on one processor core, which host,
agent and runner share. The host's share is what the clock shows beyond the runners' own time, divided by that time. A
runner's time counts from the kernel's start of its process; the share with the interpreters' start as the host's, and
the one with the pauses for a hot or slowed device, are printed beside it. Opening a device (deploy and handshake) is
timed over adb: the real client and the tests' adbd, the folder on the device empty, then filled.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.claims import Claim, Options, at_most, not_measured, run_benchmark
from benchmarks.device_models import block_files, canary_file
from benchmarks.transports import AIM_COLD_S, AIM_WARM_S, adb_way, opening_claims
from profiler_agent.device import load_device
from profiler_agent.session import Session, open_session
from profiler_agent.stability import judge_timing

CONFIG = Path(__file__).parents[1] / "device_configs" / "local_cpu_onnxruntime.yaml"
AIM_SECONDS = 180.0
AIM_SHARE = 0.05
BLOCKS, QUICK_BLOCKS = 300, 96


def measure(options: Options) -> Iterator[Claim]:
    with one_core(), tempfile.TemporaryDirectory() as folder:
        yield from share_claims(Path(folder), QUICK_BLOCKS if options.quick else BLOCKS)
    yield from adb_claims()


@contextmanager
def one_core() -> Iterator[None]:
    """This process and all that it starts on one core, where the system allows that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def share_claims(folder: Path, block_count: int) -> Iterator[Claim]:
    device = replace(load_device(CONFIG), directory=f"{folder}/device/proxyless")
    files = block_files(folder, device.runtime.name, block_count)
    canary = canary_file(folder, device.runtime.name)
    with open_session(device) as session:
        started_s = time.monotonic()
        timings = list(session.time_models(files, canary=canary))
        took_s = time.monotonic() - started_s
        verdicts = Counter(judge_timing(timing, device.plan).verdict for timing in timings)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        session_count = sum(len(timing.sessions) for timing in timings) / len(timings)
        yield at_most(
            f"{len(timings)} blocks with the default plan on one core",
            took_s,
            AIM_SECONDS * len(timings) / BLOCKS,
            unit="s",
            note=f"{session_count:.2f} sessions per block; {counts}; load {os.getloadavg()[0]:.1f}",
        )
        yield host_claim(session, took_s)


def host_claim(session: Session, took_s: float) -> Claim:
    added_s = took_s - session.runner_s - session.waited_s
    inside_s = session.runner_s - session.start_up_s
    return at_most(
        "time that the host adds to the runners', pauses for the device left out",
        added_s / session.runner_s,
        AIM_SHARE,
        unit="of the runners' time",
        note=f"runners {session.runner_s:.1f} s, of it the interpreters' start {session.start_up_s:.1f} s; pauses "
        f"{session.waited_s:.1f} s; share with the pauses {(took_s - session.runner_s) / session.runner_s:.2%}, and "
        f"without pauses but with that start as the host's {(added_s + session.start_up_s) / inside_s:.2%}",
    )


def adb_claims() -> Iterator[Claim]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        way = adb_way(load_device(CONFIG), Path(folder), servers)
        if isinstance(way, str):
            yield not_measured("deploy and handshake over adb, cold", f"<= {AIM_COLD_S:g}", way)
            yield not_measured("deploy and handshake over adb, warm", f"<= {AIM_WARM_S:g}", way)
            return
        yield from opening_claims("adb on loopback, python runner", way)


if __name__ == "__main__":
    run_benchmark("host_share", measure)
