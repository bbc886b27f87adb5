"""What `device clean` removes: everything of ours, the folders that we had to make above it, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.errors import LinkLost
from profiler_agent.session import clean_device, open_session
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
