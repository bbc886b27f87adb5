"""A full disk is a clear error, and nothing half pushed is used."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest
from watching import in_background, runs_log, wait_for

from profiler_agent.bundle import AGENT_SCRIPT
from profiler_agent.errors import DeviceFull
from profiler_agent.session import ModelFile, open_session


def test_too_little_space_before_a_job_is_an_error_before_it_runs(local_device, models, fake_python):
    device = replace(local_device, guard=replace(local_device.guard, min_free_mb=1e6))
    with pytest.raises(DeviceFull, match=r"guard\.min_free_mb"), open_session(device) as session:
        list(session.time_models(models("ok"), canary=models("ok")[0]))
    assert runs_log(fake_python) == []


def test_a_device_on_which_space_was_freed_goes_on_where_it_was(local_device, models, tmp_path):
    full = replace(local_device, guard=replace(local_device.guard, min_free_mb=1e6))
    files = models("ok")
    with pytest.raises(DeviceFull), open_session(full, work_dir=tmp_path / "work") as session:
        list(session.time_models(files, canary=files[0]))
    with open_session(local_device, work_dir=tmp_path / "work") as session:
        assert len(list(session.time_models(files, canary=files[0]))) == 1


@pytest.mark.parametrize(("free_kb", "why"), [(3_000_000_000, "done"), (60_000, "disk"), ("-", "done")])
def test_a_disk_of_many_terabytes_is_not_taken_for_a_full_one(tmp_path, shell, free_kb, why):
    df = tmp_path / "bin" / "df"
    df.parent.mkdir()
    df.write_text(f"#!/bin/sh\necho /dev/x 9 9 {free_kb} 1% /\n")
    df.chmod(0o755)
    run = tmp_path / "run-0123456789abcdef"
    run.mkdir()
    for name, text in (("job_list", "job 30\n"), ("runner", "exit 0\n"), ("lease", "0\n")):
        (run / name).write_text(text)
    environment = {**os.environ, "PATH": f"{df.parent}:{os.environ['PATH']}"}
    argv = [*shell, AGENT_SCRIPT, run, "session", "30", "65536", "free"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, env=environment, timeout=60, check=False)
    assert json.loads((run / "journal").read_text().splitlines()[-1])["why"] == why


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
