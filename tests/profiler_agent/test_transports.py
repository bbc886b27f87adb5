"""What the three transports have in common, and what each refuses: real adb client, real sshd, this machine."""

import subprocess
import threading
import time
from dataclasses import replace

import pytest

from profiler_agent.device import AdbLink, SshLink
from profiler_agent.errors import (
    AgentOutputError,
    ConfigError,
    DeviceFull,
    DeviceNotReady,
    LinkLost,
    LinkRefused,
    RuntimeMissing,
)
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.session import open_session
from profiler_agent.transports.ssh import SshTransport


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
    assert time.monotonic() - started_s < 5


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


# ---- adb ---------------------------------------------------------------------------------------------------------


def test_an_unauthorised_phone_is_refused_with_the_mend(adb_device, adbd, open_link):
    adbd.faults.refuse_authorization = True
    with pytest.raises((LinkRefused, DeviceNotReady), match="Allow USB debugging"):
        open_link(adb_device.transport)


def test_a_serial_that_is_not_there_is_named_with_what_is(adbd, open_link):
    with pytest.raises(DeviceNotReady, match="adb does not see NOSUCH"):
        open_link(AdbLink(kind="adb", serial="NOSUCH"))


def test_several_phones_and_no_serial_are_refused_with_their_serials(adbd, adb_device, open_link):
    from fault_adbd import FaultAdbd

    second = FaultAdbd()
    try:
        for daemon in (adbd, second):
            open_link(AdbLink(kind="adb", serial=daemon.address))
        with pytest.raises(DeviceNotReady, match=rf"sees 2 devices.*{adbd.address}"):
            open_link(AdbLink(kind="adb"))
    finally:
        subprocess.run(["adb", "disconnect", second.address], check=False, capture_output=True)
        second.close()


def test_the_only_phone_needs_no_serial(adbd, open_link):
    open_link(AdbLink(kind="adb", serial=adbd.address))
    assert open_link(AdbLink(kind="adb")).address == f"adb device {adbd.address}"


def test_no_adb_on_this_machine_is_said_with_the_mend(monkeypatch, tmp_path, open_link):
    monkeypatch.delenv("ADB", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeMissing, match="apt install adb"):
        open_link(AdbLink(kind="adb"))


def test_a_push_into_a_full_phone_is_said_so(adb_device, adbd, tmp_path, open_link):
    transport = open_link(adb_device.transport)
    adbd.faults.no_space = 1
    (tmp_path / "file").write_bytes(b"x" * 100)
    with pytest.raises(DeviceFull, match="No space left"):
        transport.push([(tmp_path / "file", "file")], str(tmp_path))


def test_a_shell_that_ends_without_its_exit_packet_is_a_lost_link(adb_device, adbd, open_link):
    shell = RemoteShell(open_link(adb_device.transport), reconnect_limit_s=0)
    adbd.faults.close_without_exit = 1
    with pytest.raises(LinkLost):
        shell.run("echo one; exec kill -KILL $$")


def test_an_exit_code_of_zero_without_the_closing_record_is_a_lost_link(adb_device, adbd, open_link):
    shell = RemoteShell(open_link(adb_device.transport), reconnect_limit_s=0)
    adbd.faults.drop_shell_after_bytes, adbd.faults.drops_left = 60, 1
    with pytest.raises(LinkLost, match=r"mid-command|error"):
        shell.run("echo a lot of words; sleep 1")


def test_what_a_login_shell_prints_first_is_not_taken_for_output(adb_device, adbd, open_link):
    adbd.faults.garbage_before_output = b"Welcome to this device\nproxyless-begin-0 "
    assert RemoteShell(open_link(adb_device.transport)).run("echo one").stdout == b"one\n"


def test_a_daemon_that_hangs_is_given_up_within_the_limit(adb_device, adbd, open_link):
    shell = RemoteShell(open_link(adb_device.transport), reconnect_limit_s=0)
    adbd.faults.stall.set()
    with pytest.raises(LinkLost, match=r"did not answer|did not come back"):
        shell.insist("echo one", timeout_s=1.0)


# ---- ssh ---------------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_with_its_fingerprint(sshd, tmp_path, open_link):
    (tmp_path / "empty").write_text("")
    with pytest.raises(LinkRefused, match=r"SHA256:.*is not known"):
        open_link(replace(sshd.link, known_hosts=tmp_path / "empty"))


def test_a_changed_host_key_is_refused(sshd, open_link):
    other = (sshd.folder / "other_host_key.pub").read_text().split()[:2]
    (sshd.folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {' '.join(other)}\n")
    with pytest.raises(LinkRefused, match="another host key than the known one"):
        open_link(sshd.link)


def test_a_pinned_host_key_needs_no_known_hosts_file(sshd, open_link):
    shown = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_key.pub"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    link = replace(sshd.link, known_hosts=None, host_key_sha256=shown)
    assert RemoteShell(open_link(link)).run("echo one").stdout == b"one\n"
    with pytest.raises(LinkRefused, match="not the pinned one"):
        open_link(replace(link, host_key_sha256="SHA256:" + "A" * 43))


def test_a_key_that_the_board_does_not_accept_is_refused_with_the_mend(sshd, open_link):
    with pytest.raises(LinkRefused, match="ssh-copy-id"):
        open_link(replace(sshd.link, key_file=sshd.folder / "other_host_key"))


def test_a_board_that_is_off_is_not_waited_for(sshd, open_link):
    sshd.stop()
    with pytest.raises(DeviceNotReady, match="Check that it is on"):
        open_link(sshd.link)


def test_an_address_can_stand_in_the_environment(sshd, monkeypatch, open_link):
    monkeypatch.setenv("PROXYLESS_SSH_HOST", "127.0.0.1")
    assert "127.0.0.1" in open_link(replace(sshd.link, host="$PROXYLESS_SSH_HOST")).address
    monkeypatch.delenv("PROXYLESS_SSH_HOST")
    with pytest.raises(ConfigError, match="is not set"):
        open_link(replace(sshd.link, host="$PROXYLESS_SSH_HOST"))


def test_a_command_killed_by_a_signal_is_no_success(sshd, open_link):
    with pytest.raises(LinkLost):
        RemoteShell(open_link(sshd.link)).run("kill -KILL $PPID")


def test_a_push_to_a_board_that_stops_answering_ends_at_its_limit(sshd, tmp_path, open_link, monkeypatch):
    monkeypatch.setattr("profiler_agent.transports.ssh._PUSH_LIMIT_S", 2.0)
    (tmp_path / "file").write_bytes(b"x" * 100)
    transport = open_link(sshd.link)
    sshd.freeze_connections()
    started_s = time.monotonic()
    with pytest.raises(LinkLost, match="did not answer within 2 s"):
        transport.push([(tmp_path / "file", "sent")], str(tmp_path))
    assert time.monotonic() - started_s < 10
    RemoteShell(transport, reconnect_limit_s=20).push([(tmp_path / "file", "sent")], str(tmp_path))
    assert (tmp_path / "sent").read_bytes() == b"x" * 100


def test_a_board_that_stops_answering_in_the_middle_of_a_push_ends_it_at_its_limit(
    sshd, tmp_path, open_link, monkeypatch
):
    import paramiko

    monkeypatch.setattr("profiler_agent.transports.ssh._PUSH_LIMIT_S", 2.0)
    real_put = paramiko.SFTPClient.put

    def freeze_and_put(*arguments, **options):
        sshd.freeze_connections()
        return real_put(*arguments, **options)

    monkeypatch.setattr(paramiko.SFTPClient, "put", freeze_and_put)
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    with pytest.raises(LinkLost, match="did not answer within 4 s"):
        open_link(sshd.link).push([(tmp_path / "file", "sent")], str(tmp_path))


def test_a_command_that_a_board_takes_and_never_acknowledges_ends_at_its_limit(sshd, open_link, monkeypatch):
    import paramiko

    real_exec = paramiko.Channel.exec_command

    def freeze_and_exec(*arguments):
        sshd.freeze_connections()
        return real_exec(*arguments)

    monkeypatch.setattr(paramiko.Channel, "exec_command", freeze_and_exec)
    started_s = time.monotonic()
    with pytest.raises(LinkLost, match="did not answer within 1 s"):
        RemoteShell(open_link(sshd.link)).run("echo one", timeout_s=1.0)
    assert time.monotonic() - started_s < 10


def test_a_board_without_sftp_is_refused_with_the_mend(sshd, tmp_path, open_link):
    sshd.config.write_text(sshd.config.read_text().replace("Subsystem sftp internal-sftp\n", ""))
    sshd.stop()
    sshd.start()
    (tmp_path / "file").write_bytes(b"x")
    started_s = time.monotonic()
    with pytest.raises(LinkRefused, match="openssh-sftp-server"):
        RemoteShell(open_link(sshd.link)).push([(tmp_path / "file", "sent")], str(tmp_path))
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere", "cannot be read: No such file"), ("client_key.pub", "is no private key")]
)
def test_a_key_file_that_is_none_is_a_mistake_of_the_device_file(sshd, open_link, name, words):
    with pytest.raises(ConfigError, match=rf"transport\.key_file names .*{name}, which {words}"):
        open_link(replace(sshd.link, key_file=sshd.folder / name))


@pytest.mark.parametrize(("port", "entry"), [(22, "host"), (2222, "[host]:2222")])
def test_the_line_to_remove_is_named_as_the_known_hosts_file_has_it(monkeypatch, port, entry):
    import paramiko

    def show_another_key(*_, **__):
        key = paramiko.RSAKey.generate(1024)
        raise paramiko.BadHostKeyException("host", key, key)

    monkeypatch.setattr(paramiko.SSHClient, "connect", show_another_key)
    with pytest.raises(LinkRefused) as error:
        SshTransport(SshLink(kind="ssh", host="host", port=port))
    assert f"`ssh-keygen -R '{entry}'`" in str(error.value)


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


def test_a_restarted_adb_server_is_used_on(adb_device, adbd, open_link):
    shell = RemoteShell(open_link(adb_device.transport), reconnect_limit_s=20)
    shell.run("echo one")
    subprocess.run(["adb", "kill-server"], check=True, capture_output=True)
    assert shell.insist("echo two").stdout == b"two\n"


def test_ssh_link_is_a_dataclass_without_secrets():
    assert not {"password", "passphrase"} & set(SshLink.__dataclass_fields__)
