"""The same latencies however the device is reached: this machine directly, over a real sshd, and over adb.

Over adb twice: the tests' adbd with the real client and the `python` runner, and the real adbd of Debian trixie in a
namespace with the `native` runner (where the tests' set-up could build it). Each way is taken in turn, several times,
forwards and backwards: a machine that grows slower or faster meanwhile does so to all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.claims import Claim, Options, at_most, not_measured, run_benchmark
from benchmarks.device_models import block_files, canary_file
from profiler_agent.check import check_device
from profiler_agent.cleaning import clean_device
from profiler_agent.device import AdbLink, Device, NativeRunner, load_device
from profiler_agent.errors import DeviceNotReady
from profiler_agent.session import open_session
from profiler_agent.stability import judge_timing

TOP = Path(__file__).parents[1]
TESTS = TOP / "tests" / "profiler_agent"
BUILT = TOP / "build" / "profiler_tests"
AIM_DIFFERENCE = 0.05
AIM_COLD_S, AIM_WARM_S = 2.0, 0.5

sys.path.insert(0, str(TESTS))  # the servers that the tests use
from fault_adbd import FaultAdbd  # noqa: E402
from loopback import make_sshd_keys, own_adb_server, start_sshd, why_no_sshd  # noqa: E402


def measure(options: Options) -> Iterator[Claim]:
    local = load_device(TOP / "device_configs" / "local_cpu_litert.yaml")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        ways = {"this machine": replace(local, directory=f"{folder}/local/proxyless")}
        reasons = {}
        for name, connect in {"sshd on loopback": ssh_way, "adb on loopback": adb_way}.items():
            way = connect(local, Path(folder), servers)
            if isinstance(way, str):
                reasons[name] = way
            else:
                ways[name] = way
        block_count, repeat_count = (4, 1) if options.quick else (16, 6)
        runs = take_turns(ways, Path(folder), block_count, repeat_count)
        for name in ways:
            if name != "this machine":
                yield difference_claim(name, runs[name], runs["this machine"])
        for name, reason in reasons.items():
            yield not_measured(f"{name} against this machine", f"<= {AIM_DIFFERENCE:g}", reason)
        if "adb on loopback" in ways:
            yield from opening_claims("adb on loopback, python runner", ways["adb on loopback"])
    yield from real_adbd_claims(local, repeat_count)


def ssh_way(device: Device, folder: Path, servers: ExitStack) -> Device | str:
    """The same device behind a real sshd, or why there is none."""
    if (reason := why_no_sshd()) is not None:
        return reason
    (folder / "keys").mkdir()
    server = start_sshd(make_sshd_keys(folder / "keys"))
    servers.callback(server.stop)
    runner = replace(device.runner, python=sys.executable)
    return replace(device, transport=server.link, directory=f"{folder}/ssh/proxyless", runner=runner)


def adb_way(device: Device, folder: Path, servers: ExitStack) -> Device | str:
    """The same device behind the real adb client and the tests' adbd."""
    if shutil.which("adb") is None:
        return "adb is not installed"
    (folder / "home").mkdir()
    settings = servers.enter_context(own_adb_server(folder / "home"))
    os.environ |= {name: value for name, value in settings.items() if name != "HOME"}
    daemon = FaultAdbd()
    servers.callback(daemon.close)
    runner = replace(device.runner, python=sys.executable)
    link = AdbLink(kind="adb", serial=daemon.address)
    return replace(device, transport=link, directory=f"{folder}/adb/proxyless", runner=runner)


def take_turns(
    ways: dict[str, Device], folder: Path, block_count: int, repeat_count: int
) -> dict[str, list[dict[str, float]]]:
    """Latencies by model, one set per turn of each way."""
    files = block_files(folder, "litert", block_count)
    canary = canary_file(folder, "litert")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(repeat_count):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            device = ways[name]
            with open_session(device) as session:
                timings = session.time_models(files, canary=canary)
                runs[name].append({t.model_id: judge_timing(t, device.plan).latency_ms for t in timings})
    return runs


def difference_claim(name: str, runs: list[dict[str, float]], reference: list[dict[str, float]]) -> Claim:
    ratios = [
        statistics.median(run[model_id] for run in runs) / statistics.median(run[model_id] for run in reference)
        for model_id in reference[0]
    ]
    return at_most(
        f"{name} against this machine, largest difference of {len(ratios)} blocks",
        max(abs(ratio - 1) for ratio in ratios),
        AIM_DIFFERENCE,
        unit="relative difference",
        spread=(min(ratios) - 1, max(ratios) - 1),
        note=f"median ratio {statistics.median(ratios):.4f}",
    )


def opening_claims(name: str, device: Device) -> Iterator[Claim]:
    clean_device(device)
    cold_s = seconds_of(lambda: open_once(device))
    warm_s = [seconds_of(lambda: open_once(device)) for _ in range(5)]
    yield at_most(f"deploy and handshake, cold, {name}", cold_s, AIM_COLD_S, unit="s")
    yield at_most(
        f"deploy and handshake, warm, {name}",
        statistics.median(warm_s),
        AIM_WARM_S,
        unit="s",
        spread=(min(warm_s), max(warm_s)),
    )


def open_once(device: Device) -> None:
    with open_session(device):
        pass


def seconds_of(action: Callable[[], None]) -> float:
    started_s = time.monotonic()
    action()
    return time.monotonic() - started_s


def real_adbd_claims(local: Device, repeat_count: int) -> Iterator[Claim]:
    """The native runner behind the real adbd in its namespace, against the native runner here."""
    name = "real adbd, native runner"
    native = BUILT / "native-x86_64"
    if os.getuid() != 0 or not (BUILT / "phone" / "ready").exists() or not (native / "runner.json").exists():
        reason = "needs root and what `make test-system` builds"
        yield not_measured(f"{name} against this machine", f"<= {AIM_DIFFERENCE:g}", reason)
        return
    here = replace(local, runner=NativeRunner(kind="native", folder=native))
    reports, references = [], []
    for _ in range(repeat_count):
        reports.append(report_of_the_phone(native))
        references.append(check_latencies(here))
    ratios = [
        statistics.median(report["latency_ms"][model_id] for report in reports)
        / statistics.median(reference[model_id] for reference in references)
        for model_id in references[0]
    ]
    yield at_most(
        f"{name} against this machine, largest difference of {len(ratios)} models",
        max(abs(ratio - 1) for ratio in ratios),
        AIM_DIFFERENCE,
        unit="relative difference",
        spread=(min(ratios) - 1, max(ratios) - 1),
    )
    for what, aim_s in {"cold": AIM_COLD_S, "warm": AIM_WARM_S}.items():
        seconds = [report[f"{what}_s"] for report in reports]
        yield at_most(
            f"deploy and handshake, {what}, {name}",
            statistics.median(seconds),
            aim_s,
            unit="s",
            spread=(min(seconds), max(seconds)),
        )


def report_of_the_phone(native: Path) -> dict[str, Any]:
    """Latencies and seconds to open, from a host inside the namespace of the real adbd."""
    done = subprocess.run(
        [
            "sh",
            TESTS / "phone_start.sh",
            "x86_64",
            BUILT / "phone" / "root",
            sys.executable,
            TESTS / "phone_host.py",
            native,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=TOP,
        timeout=300,
        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def check_latencies(device: Device) -> dict[str, float]:
    report = check_device(device)
    if report.finding is not None:
        raise DeviceNotReady(report.finding)
    return dict(report.latency_ms)


if __name__ == "__main__":
    run_benchmark("transports", measure)
