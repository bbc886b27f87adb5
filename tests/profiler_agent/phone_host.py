"""The host's side of the tests with the real adbd: runs beside the fake phone, prints one JSON object.

usage: phone_host.py NATIVE_FOLDER DEVICE_FILE
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from profiler_agent.check_models import check_model
from profiler_agent.cleaning import clean_device
from profiler_agent.device import AdbLink, BenchmarkModelRunner, Device, Guard, NativeRunner, RuntimeOptions, TimingPlan
from profiler_agent.errors import ConfigError, DeviceNotReady, ModelsFailed
from profiler_agent.session import ModelFile, open_session
from profiler_agent.stability import judge_timing

SERIAL = "127.0.0.1:6555"
PLAN = TimingPlan(burst_ms=2.0, burst_retries=1, round_count=4, session_count=2, max_sessions=2, spread_limit=10.0)


def adb(*words: str) -> str:
    return subprocess.run(["adb", *words], capture_output=True, text=True, check=False, timeout=30).stdout


def wait_for_phone() -> None:
    for _ in range(100):
        if "connected to" in adb("connect", SERIAL):
            return
        time.sleep(0.1)
    raise TimeoutError("the fake phone does not answer")


def timed_open(device: Device) -> float:
    started_s = time.monotonic()
    with open_session(device):
        return time.monotonic() - started_s


def time_check_models(device: Device, *, disturb: bool = False) -> tuple[dict[str, float], dict[str, object]]:
    models = [ModelFile(model_id=name, path=check_model(name, "litert")) for name in ("check", "canary")]
    with open_session(device) as session:
        disturbances = [
            threading.Timer(0.5, lambda: adb("disconnect", SERIAL)),
            threading.Timer(1.0, lambda: adb("kill-server")),
        ]
        for timer in disturbances if disturb else ():
            timer.start()
        timings = list(session.time_models(models, canary=models[1]))
        for timer in disturbances if disturb else ():
            timer.join()
        facts = {"fingerprint": session.facts.fingerprint, **session.facts.details}
    return {timing.model_id: judge_timing(timing, device.plan).latency_ms for timing in timings}, facts


def time_with_fixed_clocks(device: Device) -> dict[str, object]:
    """What the phone was asked for, what the models' facts say of it, and how the phone is afterwards."""
    fixed = replace(device, guard=replace(device.guard, fixed_performance=True))
    models = [ModelFile(model_id=name, path=check_model(name, "litert")) for name in ("check", "canary")]
    with open_session(fixed) as session:
        timing = next(iter(list(session.time_models(models, canary=models[1]))))
        state = dict(session.read_device_state())
    calls = adb("-s", SERIAL, "shell", "cat /data/local/tmp/cmd.log; rm -f /data/local/tmp/cmd.log").splitlines()
    return {"calls": calls, "facts": timing.facts_after, "state": state}


def time_with_benchmark_model(device: Device, folder: Path) -> dict[str, object]:
    """Models for a program that prints what TFLite's own would: which were timed, and why the others were not."""
    program = (Path(__file__).parent / "fake_benchmark_model.sh").read_text().replace("/bin/sh", "/system/bin/sh", 1)
    binary = folder / "benchmark_model"
    binary.write_text(program)
    sha256 = hashlib.sha256(program.encode()).hexdigest()
    runner = BenchmarkModelRunner(kind="benchmark_model", binary=binary, sha256=sha256)
    models = []
    for order in ("ok", "crash", "fails", "hangs"):
        (folder / order).write_text(f"{order}\n")
        models.append(ModelFile(model_id=order, path=folder / order))
    timed: list[str] = []
    failures = {}
    guard = replace(device.guard, model_limit_s=1.0)
    with open_session(replace(device, runner=runner, guard=guard)) as session:
        try:
            for timing in session.time_models(models, canary=models[0]):
                timed.append(timing.model_id)
        except ModelsFailed as error:
            failures = error.failures
    return {"timed": timed, "failures": failures}


def main() -> None:
    folder = Path(sys.argv[1])
    device = Device(
        name="fake-phone",
        transport=AdbLink(kind="adb", serial=SERIAL),
        runtime=RuntimeOptions(name="litert"),
        runner=NativeRunner(kind="native", folder=folder),
        plan=PLAN,
        guard=Guard(lease_s=20, min_free_mb=1.0, wait_limit_s=20.0),
        source_file=Path("fake_phone.yaml"),
    )
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"HOME": home, "ANDROID_ADB_SERVER_PORT": "5999", "ADB_MDNS": "0"}
        wait_for_phone()
        report: dict[str, object] = {"id": adb("-s", SERIAL, "shell", "id").strip()}
        report["cold_s"] = timed_open(device)
        report["warm_s"] = min(timed_open(device) for _ in range(3))
        report["latency_ms"], report["facts"] = time_check_models(device)
        report["fixed"] = time_with_fixed_clocks(device)
        report["benchmark_model"] = time_with_benchmark_model(device, Path(home))
        report["disturbed"], _ = time_check_models(device, disturb=True)
        try:
            with open_session(replace(device, directory="/system/proxyless")):
                report["read_only"] = "accepted"
        except (DeviceNotReady, ConfigError) as error:
            report["read_only"] = str(error)
        report["cleaned"] = clean_device(device)
        report["left"] = adb("-s", SERIAL, "shell", "ls -A /data/local/tmp").split()
        adb("kill-server")
    sys.stdout.write(json.dumps(report) + "\n")


main()
