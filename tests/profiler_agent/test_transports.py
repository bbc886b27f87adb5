"""What the three transports have in common, and what each refuses: real adb client, real sshd, this machine."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.errors import AgentOutputError, DeviceNotReady, LinkLost
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.session import open_session
from profiler_agent.transports.local import LocalTransport


@pytest.fixture(params=["local", "adb", "ssh"])
def device(request):
    return request.getfixturevalue(f"{request.param}_device")


def test_output_exit_code_and_arguments_come_through_unchanged(device, open_link):
    shell = RemoteShell(open_link(device.transport))
    odd = "a b'c\"d$HOME\n*é"
    result = shell.run('printf "%s|" "$@"; echo oops >&2; exit 7', odd, "")
    assert result.stdout.decode() == odd + "||"
    assert result.return_code == 7
    assert "oops" in result.stderr


def test_bytes_come_through_unchanged(device, open_link):
    result = RemoteShell(open_link(device.transport)).run("printf '\\000\\377\\r\\n\\001'")
    assert result.stdout == b"\x00\xff\r\n\x01"


def test_files_arrive_whole_under_their_names(device, tmp_path, open_link):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 2000)
    target.mkdir()
    transport = open_link(device.transport)
    transport.push([(source, "one.part"), (source, "two")], str(target))
    assert (target / "one.part").read_bytes() == (target / "two").read_bytes() == source.read_bytes()


def test_a_command_that_hangs_ends_at_its_limit(device, open_link):
    started_s = time.monotonic()
    with pytest.raises(LinkLost):
        RemoteShell(open_link(device.transport)).run("sleep 30", timeout_s=1.0)
    assert time.monotonic() - started_s < 20


def test_much_on_both_streams_does_not_deadlock(device, open_link):
    script = "i=0; while [ $i -lt 9000 ]; do echo $i-0123456789; echo $i-0123456789 >&2; i=$((i+1)); done"
    result = RemoteShell(open_link(device.transport)).run(script, timeout_s=60)
    assert result.stdout.count(b"\n") == 9000


def test_an_endless_answer_is_refused_long_before_it_fills_the_hosts_memory(device, open_link):
    started_s = time.monotonic()
    with pytest.raises(AgentOutputError, match="the limit is"):
        RemoteShell(open_link(device.transport)).run("cat /dev/zero", timeout_s=30)
    assert time.monotonic() - started_s < 20


def test_models_are_timed_over_every_transport(device, models):
    files = models("ok", "us:50", "ok")
    with open_session(device) as session:
        timings = {timing.model_id: timing for timing in session.time_models(files, canary=files[0])}
    assert len(timings) == 3
    assert timings[files[1].model_id].sessions[0].samples_ms == (0.05,) * 4


def test_every_transport_gives_this_machine_the_same_fingerprint(local_device, adb_device, ssh_device):
    seen = set()
    for device in (local_device, adb_device, ssh_device):
        with open_session(device) as session:
            seen.add(session.facts.fingerprint)
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["local", "adb", "ssh"])
def test_a_folder_that_cannot_be_written_is_refused_with_the_mend(request, kind):
    device = replace(request.getfixturevalue(f"{kind}_device"), directory="/proc/proxyless/folder")
    with pytest.raises(DeviceNotReady, match="another one under 'directory'"), open_session(device):
        pass


class WithOnly(LocalTransport):
    """This machine with these programs and no others."""

    def __init__(self, folder: Path, *programs: str) -> None:
        folder.mkdir()
        self._path = str(folder)
        for program in programs:
            (folder / program).symlink_to(str(shutil.which(program)))

    def run(self, argv, timeout_s):
        return super().run([shutil.which("env"), f"PATH={self._path}", *argv], timeout_s)


def test_a_machine_without_a_shell_on_its_path_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceNotReady, match=r"sh cannot be run on this machine.*PATH"):
        RemoteShell(LocalTransport()).run("true")


def test_a_device_that_cannot_hash_is_refused_with_the_mend(local_device, tmp_path):
    programs = ("sh", "uname", "mkdir", "rm", "cat", "tail", "find", "readlink")
    with (
        pytest.raises(DeviceNotReady, match=r"no sha256sum.*Android 8 or later.*install coreutils"),
        open_session(local_device, transport=WithOnly(tmp_path / "few", *programs)),
    ):
        pass
    assert not Path(local_device.directory).exists()


@pytest.mark.parametrize("kind", ["adb", "ssh"])
def test_a_link_lost_and_found_again_is_used_on(request, kind, open_link):
    device = request.getfixturevalue(f"{kind}_device")
    shell = RemoteShell(open_link(device.transport), reconnect_limit_s=20)
    shell.run("echo one")
    if kind == "adb":
        server = request.getfixturevalue("adbd")
        threading.Timer(0.3, server.drop_links).start()
    else:
        server = request.getfixturevalue("sshd")
        threading.Timer(0.3, server.drop_connections).start()
    assert shell.insist("sleep 0.8; echo two").stdout == b"two\n"
