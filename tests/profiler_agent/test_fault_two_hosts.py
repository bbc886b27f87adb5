"""Two hosts on one device take turns, or are told that it is held."""

import itertools
from dataclasses import replace

import pytest
from watching import in_background, runs_log, wait_for

from profiler_agent.errors import DeviceBusy
from profiler_agent.session import open_session


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
