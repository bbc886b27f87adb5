"""The peers' environment is made once, and one that cannot be made is not waited for again at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import peers_environment
from benchmarks.peers_environment import PeersUnavailable, peers_python


class Pip:
    """Stands for every command; counts them."""

    def __init__(self, *, slow: bool = False, code: int = 0) -> None:
        self.slow, self.code, self.runs = slow, code, 0

    def __call__(self, command: list[str], **options: float) -> subprocess.CompletedProcess[str]:
        self.runs += 1
        if self.slow:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, self.code, "", "no such package")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def use(pip: Pip) -> Pip:
        monkeypatch.setattr(peers_environment.subprocess, "run", pip)
        return pip

    folder = tmp_path / "peers"
    monkeypatch.setattr(peers_environment, "FOLDER", folder)
    monkeypatch.setattr(peers_environment, "READY", folder / "ready")
    monkeypatch.setattr(peers_environment, "FAILED", folder / "failed.json")
    return use


def test_what_was_not_installed_in_time_is_refused_at_once_to_the_next_that_has_no_more_time(pip):
    slow = pip(Pip(slow=True))
    with pytest.raises(PeersUnavailable, match="not installed within 100 s"):
        peers_python(100)
    assert slow.runs == 1
    with pytest.raises(PeersUnavailable, match="0 minutes ago"):
        peers_python(100)
    assert slow.runs == 1


def test_who_has_more_time_tries_again_and_then_all_have_it(pip):
    pip(Pip(slow=True))
    with pytest.raises(PeersUnavailable):
        peers_python(100)
    peers_environment.FOLDER.mkdir(exist_ok=True)
    quick = pip(Pip())
    assert peers_python(900) == peers_python(100)
    assert quick.runs == 2 and not peers_environment.FAILED.exists()


def test_a_package_that_is_not_there_is_not_asked_for_with_more_time_either_until_a_while_has_passed(pip, monkeypatch):
    missing = pip(Pip(code=1))
    for limit_s in (100, 900):
        with pytest.raises(PeersUnavailable, match="no such package"):
            peers_python(limit_s)
    assert missing.runs == 1
    monkeypatch.setattr(peers_environment, "TRIED_AGAIN_AFTER_S", -1)
    with pytest.raises(PeersUnavailable):
        peers_python(100)
    assert missing.runs == 2
