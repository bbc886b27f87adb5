"""Whatever goes wrong ends in a clear error or in all results, each exactly once."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.device import PythonRunner
from profiler_agent.errors import (
    AgentFailed,
    AgentOutputError,
    AgentVersionError,
    DeviceBusy,
    DeviceFull,
    LinkLost,
    ModelsFailed,
    RuntimeMissing,
    WrongDevice,
)
from profiler_agent.runners import python as python_runner
from profiler_agent.session import open_session
from profiler_agent.stability import judge_timing
from profiler_agent.transports.local import LocalTransport

HOST = Path(__file__).parent / "host_process.py"


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


# ---- models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("crash", r"crashed \(signal 11\)"),
        ("oom", "killed, most likely because the device ran out of memory"),
        ("fail", r"exit code 3: the runtime \?\[31mrefused"),
    ],
)
def test_a_model_that_takes_its_process_down_is_named_and_the_others_are_timed(local_device, models, order, reason):
    files = models("ok", "ok", order, "ok", "ok")
    timings = []
    with open_session(local_device) as session, pytest.raises(ModelsFailed, match=reason) as failed:
        for timing in session.time_models(files, canary=files[0]):
            timings.append(timing)
    assert ids_of(timings) == sorted(file.model_id for file in files if order not in file.model_id)
    assert list(failed.value.failures) == [files[2].model_id]


def test_a_canary_that_crashes_is_named_and_no_model_is_blamed(local_device, models):
    files = models("ok", "ok", "ok")
    canary = models("crash")[0]
    with (
        pytest.raises(AgentFailed, match=r"canary model.*crashed \(signal 11\).*another canary"),
        open_session(local_device) as session,
    ):
        list(session.time_models(files, canary=canary))


def test_a_canary_that_crashes_once_is_tried_again(local_device, models):
    files = models("ok", "ok")
    with open_session(local_device) as session:
        timings = session.time_models(files, canary=models("once-crash")[0])
        assert ids_of(timings) == sorted(file.model_id for file in files)


def test_a_model_that_crashes_once_is_tried_again(local_device, models):
    files = models("ok", "once-crash", "ok")
    with open_session(local_device) as session:
        assert ids_of(session.time_models(files, canary=files[0])) == sorted(file.model_id for file in files)


def test_a_model_that_hangs_is_ended_at_the_agents_limit(local_device, models, monkeypatch):
    monkeypatch.setattr(python_runner, "JOB_MARGIN_S", 1)
    device = replace(local_device, guard=replace(local_device.guard, model_limit_s=0.5))
    files = models("ok", "hang", "ok")
    timings = []
    with open_session(device) as session, pytest.raises(ModelsFailed, match="did not end within its time limit"):
        for timing in session.time_models(files, canary=files[0]):
            timings.append(timing)
    assert len(timings) == 2


def test_the_runner_ends_itself_when_a_model_takes_too_long():
    script = "from profiler_agent.ondevice.main import TimeLimit; import time\nwith TimeLimit(0.2): time.sleep(20)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=15)
    assert done.returncode == 1
    assert "Timeout (" in done.stderr


def test_a_device_on_which_nothing_runs_is_given_up_early(local_device, models):
    files = models(*["crash"] * 20, "ok")
    with open_session(local_device) as session, pytest.raises(AgentFailed, match="6 models in a row failed"):
        list(session.time_models(files, canary=files[-1]))


# ---- hostile output ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["junk", "control", "nan", "negative", "float", "zero", "traversal", "oversized"])
def test_hostile_output_is_an_error_and_nothing_of_it_is_used(local_device, models, order):
    files = models("ok", order)
    seen = []
    with pytest.raises(AgentOutputError) as error, open_session(local_device) as session:
        for timing in session.time_models(files, canary=files[0]):
            seen.append(timing)
    assert seen == []
    assert all(char.isprintable() or char == "\n" for char in str(error.value))


class ToldFacts(LocalTransport):
    """The agent answers the question for its facts with these."""

    def __init__(self, facts: bytes) -> None:
        self.facts = facts

    def run(self, argv, timeout_s):
        result = super().run(argv, timeout_s)
        if " facts " not in argv[2]:
            return result
        begin, _, rest = result.stdout.partition(b"\n")
        end = rest.rpartition(b"\nproxyless-end-")[2]
        return replace(result, stdout=begin + b"\n" + self.facts + b"\nproxyless-end-" + end)


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"[]",
        b'{"temperature_mc":"hot"}',
        b'{"temperature_mc":[50000]}',
        b'{"cpu_pressure_percent":"99"}',
        b'{"cpu_ticks":[[1],2,3,4,5,6,7,8]}',
        b'{"thermal_status":true}',
        b'{"load_1min":1' + b"0" * 400 + b"}",
        b'{"\\u001b]0;owned\\u0007":1}',
        b'{"load\\nverdict   accepted":1}',
        b'{"fixed_performance":"\\u001b[31mred"}',
        b'{"found_limits_khz":' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_hostile_facts_are_an_error_in_printable_words_before_anything_is_timed(local_device, models, facts):
    two_threads = replace(local_device.runtime, thread_count=2)
    guard = replace(local_device.guard, max_start_temperature_c=45.0)
    device = replace(local_device, runtime=two_threads, guard=guard)
    with (
        pytest.raises(AgentOutputError, match="no agent of ours") as error,
        open_session(device, transport=ToldFacts(facts)) as session,
    ):
        list(session.time_models(models("ok"), canary=models("ok")[0]))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("version", ["null", '"\\u001b[2J\\nverdict"'])
def test_what_a_device_says_of_its_python_is_shown_without_control_characters(local_device, tmp_path, version):
    python = tmp_path / "fake" / "evil"
    told = (
        '{"t":"probe","runtime":"onnxruntime","executable":"\\u001b]0;owned\\u0007\\nx","python":"\\u001b[2J",'
        f'"version":{version},"package":null}}'
    )
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\n")
    python.chmod(0o755)
    device = replace(local_device, runner=PythonRunner(python=str(python)))
    if version == "null":
        with pytest.raises(RuntimeMissing, match=r"under \?\]0;owned\?\?x") as error, open_session(device):
            pass
        assert str(error.value).isprintable()
    else:
        with open_session(device) as session:
            words = [session.facts.runtime_version, *map(str, session.facts.details.values())]
        assert all(word.isprintable() for word in words)


# ---- the link ----------------------------------------------------------------------------------------------------


class BrokenLink(LocalTransport):
    """Loses the link before or after every third command; what was begun is still done."""

    def __init__(self) -> None:
        self.calls = 0
        self.reconnects = 0

    def run(self, argv, timeout_s):
        self.calls += 1
        if self.calls % 7 == 3:
            raise LinkLost("unplugged before")
        result = super().run(argv, timeout_s)
        if self.calls % 7 == 6:
            raise LinkLost("unplugged after")
        return result

    def push(self, files, directory):
        self.calls += 1
        if self.calls % 3 == 0:
            super().push(files[:1], directory)
            raise LinkLost("unplugged in mid-push")
        super().push(files, directory)

    def reconnect(self) -> None:
        self.reconnects += 1


def test_a_link_that_breaks_all_the_time_loses_and_doubles_nothing(local_device, models, fake_python):
    files = models(*["ok"] * 6)
    link = BrokenLink()
    with open_session(local_device, transport=link) as session:
        assert ids_of(session.time_models(files, canary=files[0])) == sorted(file.model_id for file in files)
    assert link.reconnects > 3
    assert set(Counter(runs_log(fake_python)).values()) == {1}


class CutOnce(LocalTransport):
    """Loses the link at one call, before it or after it was done."""

    def __init__(self, number: int, *, is_done: bool) -> None:
        self.left = number
        self.is_done = is_done

    def run(self, argv, timeout_s):
        self.left -= 1
        if self.left == 0 and not self.is_done:
            raise LinkLost("unplugged before")
        result = super().run(argv, timeout_s)
        if self.left == 0:
            raise LinkLost("unplugged after")
        return result


@pytest.mark.parametrize("is_done", [False, True])
def test_a_link_lost_at_any_one_call_of_an_opening_is_survived(local_device, is_done):
    for number in range(1, 30):
        shutil.rmtree(local_device.directory, ignore_errors=True)
        link = CutOnce(number, is_done=is_done)
        with open_session(local_device, transport=link):
            pass
        if link.left > 0:  # the opening has fewer calls
            break
    assert number > 5


@pytest.mark.parametrize("kind", ["adb", "ssh"])
def test_a_link_lost_in_mid_run_is_taken_up_where_it_was(request, kind, models, fake_python):
    device = request.getfixturevalue(f"{kind}_device")
    files = models("ok", "slow:1.5")
    server = request.getfixturevalue({"adb": "adbd", "ssh": "sshd"}[kind])
    drop = server.drop_links if kind == "adb" else server.drop_connections
    with open_session(device) as session:
        threading.Thread(target=lambda: (wait_for(lambda: len(runs_log(fake_python)) > 0), drop()), daemon=True).start()
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    assert set(Counter(runs_log(fake_python)).values()) == {1}


def test_a_board_that_stops_answering_in_mid_run_is_reached_anew(ssh_device, sshd, models, fake_python, monkeypatch):
    monkeypatch.setattr("profiler_agent.agent_run.POLL_LIMIT_S", 2.0)
    files = models("ok", "slow:1.5")

    def freeze():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        sshd.freeze_connections()

    with open_session(ssh_device) as session:
        threading.Thread(target=freeze, daemon=True).start()
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    assert set(Counter(runs_log(fake_python)).values()) == {1}


def test_an_adb_server_restarted_in_mid_run_is_survived(adb_device, models, fake_python):
    files = models("ok", "slow:1.5")

    def restart():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        subprocess.run(["adb", "kill-server"], check=True, capture_output=True)

    with open_session(adb_device) as session:
        threading.Thread(target=restart, daemon=True).start()
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    assert set(Counter(runs_log(fake_python)).values()) == {1}


def test_a_daemon_that_hangs_for_good_is_a_clear_error(adb_device, adbd, models, fake_python, monkeypatch):
    device = replace(adb_device, guard=replace(adb_device.guard, lease_s=3))
    files = models("ok", "slow:5")

    def hang():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        adbd.faults.stall.set()

    threading.Thread(target=hang, daemon=True).start()
    monkeypatch.setattr("profiler_agent.agent_run.POLL_LIMIT_S", 2.0)
    with pytest.raises(LinkLost, match="the run resumes where it stopped"), open_session(device) as session:
        list(session.time_models(files, canary=files[0]))


class SwappedDevice(LocalTransport):
    """Another device answers once the link has been lost."""

    def __init__(self) -> None:
        self.is_swapped = False

    def run(self, argv, timeout_s):
        script = argv[2]
        if ">lease" in script and not self.is_swapped:
            self.is_swapped = True
            raise LinkLost("unplugged")
        if self.is_swapped and "say machine" in script:
            argv = [*argv[:2], script.replace('"$(uname -m)"', "another"), *argv[3:]]
        return super().run(argv, timeout_s)


def test_another_device_after_a_lost_link_is_refused(local_device, models):
    files = models("ok")
    with (
        pytest.raises(WrongDevice, match="another device answered"),
        open_session(local_device, transport=SwappedDevice()) as session,
    ):
        list(session.time_models(files, canary=files[0]))


# ---- the host ----------------------------------------------------------------------------------------------------


def start_host(device, fake_python, work_dir, files, lease_s=20):
    argv = [sys.executable, HOST, device.directory, fake_python, work_dir, str(lease_s), *(file.path for file in files)]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, cwd=HOST.parents[2])


def test_a_host_killed_and_restarted_loses_and_doubles_no_job(local_device, models, fake_python, tmp_path):
    files = models(*["ok"] * 49, "slow:0.7")  # two batches: 48 and 2
    todo = {file.model_id.split("-")[0]: file for file in files}
    canary = files[0]
    taken: list[str] = []
    for jobs_before in (1, 3, None):
        # like a campaign, a restarted host asks for what it has not stored; the canary is the first model
        host = start_host(local_device, fake_python, tmp_path / "work", [canary, *todo.values()])
        if jobs_before is not None:
            wait_for(lambda count=jobs_before: len(runs_log(fake_python)) >= count)
            host.kill()
        output, _ = host.communicate(timeout=60)
        for name, session_count in (line.split() for line in output.decode().splitlines()):
            assert session_count == "2"
            taken.append(name)
            todo.pop(name)
    assert host.returncode == 0
    assert todo == {}
    assert sorted(taken) == sorted(set(taken))
    assert sorted(Counter(runs_log(fake_python)).values()) == [1, 1, 1, 1]


def test_a_batch_half_handed_over_is_not_run_again(local_device, models, fake_python, tmp_path):
    files = models(*["ok"] * 5)
    with pytest.raises(RuntimeError), open_session(local_device, work_dir=tmp_path / "work") as session:
        timings = session.time_models(files, canary=files[0])
        first = next(timings).model_id
        raise RuntimeError("the host dies here")
    left = [file for file in files if file.model_id != first]
    with open_session(local_device, work_dir=tmp_path / "work") as session:
        assert ids_of(session.time_models(left, canary=files[0])) == sorted(file.model_id for file in left)
    assert len(runs_log(fake_python)) == 2


def test_results_that_were_handed_over_are_measured_anew_the_next_time(local_device, models, fake_python, tmp_path):
    files = models("ok")
    for _ in range(2):
        with open_session(local_device, work_dir=tmp_path / "work") as session:
            list(session.time_models(files, canary=files[0]))
    assert len(runs_log(fake_python)) == 4


def test_an_agent_whose_host_is_gone_for_good_ends_by_its_lease(local_device, models, fake_python, tmp_path):
    host = start_host(local_device, fake_python, tmp_path / "work", models("ok", "ok", "slow:60"), lease_s=2)
    wait_for(lambda: len(runs_log(fake_python)) > 0)
    pid = wait_for(lambda: agent_pid(local_device))
    host.kill()
    host.communicate()
    wait_for(lambda: agent_pid(local_device) is None, limit_s=10)
    (folder,) = run_folders(local_device)
    assert (folder / "journal").read_text().endswith('{"t":"bye","why":"lease"}\n')
    assert not Path(f"/proc/{pid}").exists()
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if folder.name.encode() in read_quietly(p)]


def read_quietly(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_what_a_lost_host_left_is_swept_at_the_next_opening(local_device, models, fake_python, tmp_path):
    host = start_host(local_device, fake_python, tmp_path / "work", models("ok", "ok", "slow:60"), lease_s=2)
    wait_for(lambda: len(runs_log(fake_python)) > 0)
    wait_for(lambda: agent_pid(local_device))
    host.kill()
    host.communicate()
    wait_for(lambda: agent_pid(local_device) is None, limit_s=10)
    with open_session(local_device):
        assert run_folders(local_device) == []


def test_an_interrupted_host_stops_its_agent(local_device, models, fake_python):
    files = models("ok", "slow:60")
    with pytest.raises(KeyboardInterrupt), open_session(local_device) as session:
        threading.Thread(
            target=lambda: (wait_for(lambda: len(runs_log(fake_python)) > 0), os.kill(os.getpid(), signal.SIGINT)),
            daemon=True,
        ).start()
        list(session.time_models(files, canary=files[0]))
    assert run_folders(local_device) == []
    assert [path.name for path in Path(local_device.directory, "cache").iterdir() if len(path.name) != 64] == []


# ---- the agent ---------------------------------------------------------------------------------------------------


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


def test_a_killed_agent_with_a_torn_journal_line_is_restarted(local_device, models, fake_python):
    files = models("ok", "slow:1.0")

    def kill_agent():
        wait_for(lambda: len(runs_log(fake_python)) > 1)  # the second job runs
        os.kill(wait_for(lambda: agent_pid(local_device)), signal.SIGKILL)
        with (run_folders(local_device)[0] / "journal").open("a") as journal:
            journal.write('{"t":"res","id":"torn')

    with open_session(local_device) as session, in_background(kill_agent):
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    counts = sorted(Counter(runs_log(fake_python)).values())
    assert counts == [1, 2]  # the job that the agent had started was retried once


def test_a_job_that_takes_the_agent_down_is_not_tried_for_ever(local_device, models, fake_python):
    files = models("ok", "slow:2.0")

    def kill_agents():
        for count in (1, 2):
            wait_for(lambda count=count: len(runs_log(fake_python)) >= count)
            os.kill(wait_for(lambda: agent_pid(local_device)), signal.SIGKILL)

    with open_session(local_device) as session, in_background(kill_agents):
        assert len(list(session.time_models(files, canary=files[0]))) == 2


def test_an_agent_of_another_version_is_refused(local_device, models):
    files = models("ok")
    with pytest.raises(AgentVersionError, match="proxyless device clean"), open_session(local_device) as session:
        for path in Path(local_device.directory, "cache").iterdir():
            if path.read_bytes().startswith(b"#!/bin/sh"):
                path.write_text(path.read_text() + "# another version\n")
        list(session.time_models(files, canary=files[0]))


def test_a_broken_file_in_the_cache_is_sent_again(local_device, models):
    files = models("ok")
    with open_session(local_device):
        pass
    for path in Path(local_device.directory, "cache").iterdir():
        path.write_text("half a file")
    with open_session(local_device) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 1


def test_two_hosts_on_one_device_take_turns(local_device, models, fake_python):
    files = models("ok", "slow:0.3")

    def second_host():
        with open_session(local_device) as session:
            assert len(list(session.time_models(files, canary=files[0]))) == 2

    with in_background(second_host), open_session(local_device) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 2
    spans = [line.split(":") for line in (fake_python.parent / "spans.log").read_text().split()]
    ordered = sorted((float(start), float(end)) for start, end in spans)
    assert len(ordered) == 4
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))


def test_a_device_held_too_long_by_another_host_is_said_busy(local_device, models, fake_python):
    files = models("ok", "slow:4")

    def first_host():
        with open_session(local_device) as session:
            list(session.time_models(files, canary=files[0]))

    impatient = replace(local_device, guard=replace(local_device.guard, wait_limit_s=1.0))
    with in_background(first_host):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        with pytest.raises(DeviceBusy, match="Another session"), open_session(impatient) as session:
            list(session.time_models(files, canary=files[0]))


# ---- space -------------------------------------------------------------------------------------------------------


def test_too_little_space_before_a_job_is_an_error_before_it_runs(local_device, models, fake_python):
    device = replace(local_device, guard=replace(local_device.guard, min_free_mb=1e9))
    with pytest.raises(DeviceFull, match=r"guard\.min_free_mb"), open_session(device) as session:
        list(session.time_models(models("ok"), canary=models("ok")[0]))
    assert runs_log(fake_python) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, made by root."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let root mount a file system: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", ["local", "adb", "ssh"])
def test_a_disk_that_fills_up_at_a_push_is_an_error_and_no_half_file_is_used(request, small_disk, tmp_path, kind):
    from profiler_agent.session import ModelFile

    device = replace(request.getfixturevalue(f"{kind}_device"), directory=str(small_disk / "proxyless"))
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    big = ModelFile(model_id="big", path=tmp_path / "big")
    with pytest.raises(DeviceFull, match=r"full|No space|kB are free"), open_session(device) as session:
        list(session.time_models([big], canary=big))
    assert not [path for path in small_disk.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20]


def test_a_disk_that_fills_up_in_mid_run_ends_in_a_clear_error(local_device, models, fake_python, small_disk):
    device = replace(local_device, directory=str(small_disk / "proxyless"))
    device = replace(device, guard=replace(device.guard, min_free_mb=0.1))
    files = models("ok", "slow:1.0")

    def fill():
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)

    with pytest.raises(DeviceFull, match="Free some space"), open_session(device) as session, in_background(fill):
        list(session.time_models(files, canary=files[0]))


@pytest.mark.parametrize("shell", ["dash", "mksh", "busybox sh", "bash --posix"])
def test_the_agent_runs_under_every_shell_that_devices_have(local_device, models, tmp_path, shell):
    program = shutil.which(shell.split()[0])
    if program is None:
        pytest.skip(f"{shell.split()[0]} is not installed; tests/profiler_agent/setup_system.sh installs it")
    files = models("ok", "crash", "ok")
    with pytest.raises(ModelsFailed), open_session(local_device, transport=OtherShell(tmp_path, shell)) as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 2


class OtherShell(LocalTransport):
    """``sh`` is another program, for the host's scripts and for the agent."""

    def __init__(self, folder: Path, shell: str) -> None:
        (folder / "bin").mkdir()
        program, *rest = shell.split()
        script = folder / "bin" / "sh"
        script.write_text(f'#!/bin/bash\nexec {shutil.which(program)} {" ".join(rest)} "$@"\n')
        script.chmod(0o755)
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def run(self, argv, timeout_s):
        return super().run(["env", f"PATH={self._path}", *argv], timeout_s)


def test_the_agent_is_clean_under_shellcheck():
    script = Path(__file__).parents[2] / "profiler_agent" / "ondevice" / "agent.sh"
    checker = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([checker, "-s", "sh", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert re.match(r"#!/bin/sh", script.read_text())


def test_a_device_that_heats_up_gets_pauses_and_is_then_flagged(local_device, models, monkeypatch):
    plan = replace(local_device.plan, session_count=2, max_sessions=5)
    pauses_s: list[float] = []
    with open_session(local_device) as session:
        monkeypatch.setattr(session._timer, "sleep", pauses_s.append)
        (timing,) = session.time_models(models("ok"), canary=models("heating")[0], plan=plan)
    assert pauses_s == [0.5, 1.0, 2.0]  # longer and longer, and no more than the plan's sessions allow
    assert judge_timing(timing, plan).verdict == "throttled"
