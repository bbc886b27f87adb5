"""The real sshd: host keys, our keys, addresses, and boards that stop answering or lack something."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from profiler_agent.device import SshLink
from profiler_agent.errors import ConfigError, DeviceNotReady, LinkLost, LinkRefused, RuntimeMissing
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.transports.ssh import SshTransport


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


@pytest.mark.parametrize("line", ["board ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA", "board ssh-rsa AAAAB3NzaC1yc2E="])
@pytest.mark.parametrize("is_named", [True, False])
def test_a_broken_line_among_the_known_hosts_is_said(sshd, tmp_path, monkeypatch, open_link, line, is_named):
    (tmp_path / ".ssh").mkdir()
    path = tmp_path / ".ssh" / "known_hosts"
    path.write_text(f"{line}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"known_hosts holds a line that is no host key .*host_key_sha256"):
        open_link(replace(sshd.link, known_hosts=path if is_named else None))


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_key_that_the_board_does_not_accept_is_refused_with_the_mend(sshd, tmp_path, open_link, kind):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "key"], check=True)
    with pytest.raises(LinkRefused, match="ssh-copy-id"):
        open_link(replace(sshd.link, key_file=tmp_path / "key"))


def test_a_key_with_a_passphrase_is_refused_with_the_way_to_use_it(sshd, tmp_path, open_link):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "key"], check=True)
    with pytest.raises(LinkRefused, match=r"`ssh-add` it, and set transport\.use_ssh_agent: true"):
        open_link(replace(sshd.link, key_file=tmp_path / "key"))


def test_no_key_at_all_is_refused_with_the_mend(sshd, tmp_path, monkeypatch, open_link):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LinkRefused, match=r"No authentication methods available.*ssh-copy-id"):
        open_link(replace(sshd.link, key_file=None))


@pytest.mark.parametrize("words", ["Authentication timeout.", "Authentication failed: transport shut down or saw EOF"])
def test_a_link_that_is_lost_while_we_log_in_is_tried_again(sshd, open_link, monkeypatch, words):
    import paramiko

    transport = open_link(sshd.link)
    real_connect, failures = paramiko.SSHClient.connect, [paramiko.AuthenticationException(words)]

    def connect(*arguments, **options):
        if failures:
            raise failures.pop()
        return real_connect(*arguments, **options)

    monkeypatch.setattr(paramiko.SSHClient, "connect", connect)
    sshd.drop_connections()
    assert RemoteShell(transport, reconnect_limit_s=20).insist("echo one").stdout == b"one\n"
    assert failures == []


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


def test_a_machine_without_paramiko_is_said_with_the_mend(monkeypatch, open_link):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(RuntimeMissing, match=r"pip install 'proxyless\[agent\]'"):
        open_link(SshLink(kind="ssh", host="board"))


def test_a_user_before_the_host_is_shown_its_own_key(open_link):
    with pytest.raises(ConfigError, match=r"the host alone \(board\).*transport.user \(pi\)"):
        open_link(SshLink(kind="ssh", host="pi@board"))


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


def test_ssh_link_is_a_dataclass_without_secrets():
    assert not {"password", "passphrase"} & set(SshLink.__dataclass_fields__)
