"""A lost link, a hanging daemon and a swapped device end in all results, each once, or in a clear error."""

import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import replace

import pytest
from watching import ids_of, runs_log, wait_for

from profiler_agent.errors import LinkLost, WrongDevice
from profiler_agent.session import open_session
from profiler_agent.transports.local import LocalTransport


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
