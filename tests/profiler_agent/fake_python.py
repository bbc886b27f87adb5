"""Stands where an interpreter is expected: answers the runner's probe, and does to each model what its file says.

ok: 1 ms. us:N: N microseconds. crash, oom: dies of SIGSEGV, SIGKILL while loading. hang: sleeps for ever.
once-crash: crashes the first process that loads it. sick:ORDER: ORDER until a file ``healed`` is beside this one, then
ok. slow:S: takes S seconds. heating: slower from process to process.
write:FILE=LINE: writes a file. until:TEXT: waits until the agent has noted such a reading of the clocks.
junk, nan, negative, control, oversized, traversal: hostile output. fail: exit code 3.
deep: ends itself at its limit, with many calls open.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).resolve().parent


def emit(record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def write(order, _):
    file, _, line = order.partition("=")
    Path(file).write_text(line + "\n")


def wait_for_reading(text, run_folder):
    deadline_s = time.monotonic() + 30
    while not ((notes := run_folder / "working").exists() and text in notes.read_text()):
        if time.monotonic() > deadline_s:
            sys.exit(f"no reading with {text} was noted")
        time.sleep(0.02)


def end_deep_within(*_):
    """As faulthandler does."""
    sys.stderr.write("Timeout (0:00:05)!\n" + '  File "a/long/path/to/a/library.py", line 1 in call\n' * 100)
    sys.exit(1)


ACTIONS = {
    "write": write,
    "until": wait_for_reading,
    "deep": end_deep_within,
    "slow": lambda seconds, _: time.sleep(float(seconds)),
}


def obey(order, index, run_folder):
    word, _, value = order.partition(":")
    if word in ACTIONS:
        ACTIONS[word](value, run_folder)
    elif word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "once-crash" and not (HERE / "crashed").exists():
        (HERE / "crashed").touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "oom":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "hang":
        time.sleep(600)
    elif word == "fail":
        sys.stderr.write("the runtime \x1b[31mrefused\x1b[0m this model\n")
        sys.exit(3)
    elif word == "junk":
        sys.stdout.write("Segmentation fault? {not json\n")
    elif word == "control":
        sys.stdout.write('{"t":"begin","m":"\x1b]0;owned\x07"}\n')
    elif word == "traversal":
        emit({"t": "../../../etc/passwd", "m": index})
    elif word == "oversized":
        sys.stdout.write("x" * (5 << 20))
    elif word == "heating":  # each process is slower than the one before
        return 1e6 * 1.5 ** (HERE / "runs.log").read_text().count("\n")
    return float(value) * 1000 if word == "us" else 1e6


def burst(order, run_ns):
    word = order.partition(":")[0]
    return {"nan": float("nan"), "negative": -5, "float": 1.5, "zero": 0}.get(word, int(run_ns * 10))


def run(job_path):
    job = json.loads(Path(job_path).read_text())
    with (HERE / "runs.log").open("a") as log:
        log.write(Path(job_path).name + "\n")
    orders = [Path(path).read_text().split("\n")[0] for path in job["models"]]
    if not (HERE / "healed").exists():
        orders = [order.removeprefix("sick:") for order in orders]
    emit({"t": "hello", "python": "fake"})
    times = []
    for index, order in enumerate(orders):
        emit({"t": "begin", "m": index})
        times.append(obey(order, index, Path(job_path).parent))
        emit({"t": "ready", "m": index, "runs": 10})
    rounds = job["plan"]["round_count"]
    for index, (order, run_ns) in enumerate(zip(orders, times)):
        bursts = [burst(order, run_ns)] * rounds
        emit({"t": "samples", "m": index, "runs": 10, "burst_ns": bursts, "switches": [0] * rounds})
    emit({"t": "end", "models": len(orders), "runtime": {"version": "0", "ran_on": ["fake"]}})


if sys.argv[2] == "probe":
    emit(
        {
            "t": "probe",
            "python": "3.x",
            "executable": "fake",
            "runtime": sys.argv[3],
            "package": "fake",
            "version": os.environ.get("FAKE_VERSION", "0.0"),
        }
    )
else:
    started_s = time.monotonic()
    run(sys.argv[3])
    with (HERE / "spans.log").open("a") as log:
        log.write(f"{started_s}:{time.monotonic()}\n")
