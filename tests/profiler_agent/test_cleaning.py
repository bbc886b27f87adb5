"""What `device clean` removes: everything of ours, the folders that we had to make above it, and nothing else; and
that it takes nothing from under a host that is at work."""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from other_shell import OtherShell
from watching import agent_pid, in_background, run_folders, runs_log, wait_for

from profiler_agent.cleaning import clean_device
from profiler_agent.errors import AgentFailed, DeviceBusy, DeviceNotReady, LinkLost
from profiler_agent.session import open_session
from profiler_agent.transports.local import LocalTransport


@pytest.fixture
def deep_device(local_device, tmp_path):
    """Its folder is two below one that was there before us."""
    (tmp_path / "before").mkdir()
    return replace(local_device, directory=f"{tmp_path}/before//made/also made/proxyless")


def opened_twice(device):
    for _ in range(2):
        with open_session(device):
            pass
    return device


def test_folders_that_we_made_above_ours_go_with_it(deep_device, tmp_path):
    clean_device(opened_twice(deep_device))
    assert list((tmp_path / "before").iterdir()) == []


def test_a_folder_that_was_there_before_us_stays_although_it_is_empty(deep_device, tmp_path):
    (tmp_path / "before" / "made").mkdir()
    clean_device(opened_twice(deep_device))
    assert [path.name for path in tmp_path.glob("before/**/*")] == ["made"]


def test_a_folder_that_we_made_and_others_use_by_now_stays(deep_device, tmp_path):
    opened_twice(deep_device)
    (tmp_path / "before" / "made" / "theirs").write_text("")
    clean_device(deep_device)
    assert sorted(path.name for path in tmp_path.glob("before/**/*")) == ["made", "theirs"]


def test_cleaning_what_was_never_used_leaves_nothing(deep_device, tmp_path):
    clean_device(deep_device)
    assert list((tmp_path / "before").iterdir()) == []


@pytest.mark.parametrize("theirs", [".ssh", "run-1", "models-of-mine", "-n", "letter to\nall"])
def test_a_folder_that_holds_what_is_not_ours_is_neither_used_nor_cleaned(local_device, tmp_path, shell, theirs):
    """A device file may name the wrong one, and all that is in ours may be removed."""
    home = tmp_path / "home" / "somebody"
    (home / "cache").mkdir(parents=True)
    (home / theirs).mkdir()
    os.utime(home / theirs, (0, 0))
    device = replace(local_device, directory=str(home))
    link = OtherShell(tmp_path, " ".join(shell))
    words = re.escape(repr(theirs)) + ".*none of ours.*Nothing was touched"
    with pytest.raises(DeviceNotReady, match=words), open_session(device, transport=link):
        pass
    with pytest.raises(DeviceNotReady, match=words):
        clean_device(device, even_if_held=True, transport=link)
    assert sorted(path.name for path in home.iterdir()) == sorted([theirs, "cache"])


class LostAfterRemoval(LocalTransport):
    """The link is lost once, when our folder is gone already."""

    def __init__(self) -> None:
        self.is_lost = False

    def run(self, argv, timeout_s):
        result = super().run(argv, timeout_s)
        if "rmdir" in argv[2] and not self.is_lost:
            self.is_lost = True
            raise LinkLost("unplugged after")
        return result


def test_a_link_lost_in_mid_removal_leaves_nothing(deep_device, tmp_path):
    opened_twice(deep_device)
    clean_device(deep_device, transport=LostAfterRemoval())
    assert list((tmp_path / "before").iterdir()) == []


@pytest.mark.parametrize("claim", ["/", "/etc", "..", "{directory}", "{tmp}\n/etc"])
def test_what_a_device_claims_that_we_made_is_not_believed_beyond_our_own_path(deep_device, tmp_path, claim):
    opened_twice(deep_device)
    Path(deep_device.directory, "made_above").write_text(claim.format(directory=deep_device.directory, tmp=tmp_path))
    clean_device(deep_device)
    assert (tmp_path / "before" / "made" / "also made").is_dir()


@pytest.fixture
def other_host(local_device, models, fake_python):
    """Times models meanwhile, until its run is taken away."""
    files = models("ok", "slow:30")

    def time_models():
        with pytest.raises(AgentFailed, match="cleaned by someone else"), open_session(local_device) as session:
            list(session.time_models(files, canary=files[0]))

    with in_background(time_models):
        wait_for(lambda: len(runs_log(fake_python)) > 0)
        yield
        clean_device(local_device, even_if_held=True)


def test_a_device_on_which_another_host_is_at_work_is_not_cleaned(local_device, other_host):
    with pytest.raises(DeviceBusy, match=r"Nothing was removed.*device clean --force"):
        clean_device(local_device)
    assert agent_pid(local_device) is not None
    assert len(run_folders(local_device)) == 1


def test_by_force_a_device_is_cleaned_from_under_another_host(local_device, other_host):
    clean_device(local_device, even_if_held=True)
    assert not Path(local_device.directory).exists()
    wait_for(lambda: not is_at_work(local_device), limit_s=5)


def is_at_work(device):
    """Whether any process was started with our folder's name."""
    words = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words.append(path.read_bytes())
    return any(f"{device.directory}/run-".encode() in word for word in words)


class KeepsFiles(LocalTransport):
    """Nothing can be removed with what is in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path = f"{folder}:{os.environ['PATH']}"
        refusal = '[ "$1" != -rf ] || { echo "rm: Operation not permitted" >&2; exit 1; }'
        script = f'#!/bin/sh\n{refusal}\nexec {shutil.which("rm")} "$@"\n'
        (folder / "rm").write_text(script)
        (folder / "rm").chmod(0o755)

    def run(self, argv, timeout_s):
        return super().run(["env", f"PATH={self._path}", *argv], timeout_s)


def test_what_cannot_be_removed_is_said(local_device, tmp_path):
    with pytest.raises(DeviceNotReady, match=r"could not be removed.*Operation not permitted"):
        clean_device(opened_twice(local_device), transport=KeepsFiles(tmp_path / "bin"))
