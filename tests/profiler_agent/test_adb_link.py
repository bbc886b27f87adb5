"""What the real adb client says of phones that are not ready, hang or end in mid-command, and what we make of it."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from fault_adbd import FaultAdbd

from profiler_agent.attached import attached_devices
from profiler_agent.device import AdbLink
from profiler_agent.errors import DeviceFull, DeviceNotReady, LinkLost, LinkRefused, RuntimeMissing
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.transports.adb import attached_serials


def test_an_unauthorised_phone_is_refused_with_the_mend(adb_device, adbd, open_link):
    adbd.faults.refuse_authorization = True
    with pytest.raises((LinkRefused, DeviceNotReady), match="Allow USB debugging"):
        open_link(adb_device.transport)


def test_an_adb_server_that_is_just_restarted_is_asked_again(tmp_path):
    adb = tmp_path / "adb"
    adb.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n[ -e asked ] || {{ : >asked; echo 'Connection reset by peer' >&2; exit 1; }}\n"
        "printf 'List of devices attached\\nAAA\\tdevice\\n\\n'\n"
    )
    adb.chmod(0o755)
    assert attached_serials(adb) == {"AAA": "device"}


def test_a_serial_that_is_not_there_is_named_with_what_is(adbd, open_link):
    with pytest.raises(DeviceNotReady, match="adb does not see NOSUCH"):
        open_link(AdbLink(kind="adb", serial="NOSUCH"))


def test_several_phones_and_no_serial_are_refused_with_their_serials(adbd, adb_device, open_link):
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


@pytest.mark.parametrize("kind", ["a folder", "no program"])
def test_an_adb_that_cannot_be_run_is_said_with_the_mend(monkeypatch, tmp_path, kind):
    adb = tmp_path / "adb"
    adb.mkdir() if kind == "a folder" else adb.write_bytes(b"\x00no program")
    adb.chmod(0o755)
    monkeypatch.setenv("ADB", str(adb))
    (local, phones) = attached_devices()
    assert (local.state, phones.state) == ("ready", "not there")
    assert str(adb) in phones.mend
    assert "transport.adb" in phones.mend


def test_an_adb_that_goes_away_while_we_work_is_a_lost_link(adb_device, tmp_path, open_link):
    adb = tmp_path / "adb"
    adb.symlink_to(shutil.which("adb"))
    transport = open_link(replace(adb_device.transport, adb=adb))
    adb.unlink()
    with pytest.raises(LinkLost, match="could not be run: No such file"):
        RemoteShell(transport, reconnect_limit_s=0).run("true")


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


def test_a_phone_whose_adbd_tells_no_exit_codes_is_refused_at_once(adb_device, adbd, open_link):
    adbd.faults.features = b"cmd"  # as before Android 7
    with pytest.raises(LinkRefused, match="needs Android 8 or later"):
        RemoteShell(open_link(adb_device.transport)).insist("echo one")


def test_a_restarted_adb_server_is_used_on(adb_device, adbd, open_link):
    shell = RemoteShell(open_link(adb_device.transport), reconnect_limit_s=20)
    shell.run("echo one")
    subprocess.run(["adb", "kill-server"], check=True, capture_output=True)
    assert shell.insist("echo two").stdout == b"two\n"
