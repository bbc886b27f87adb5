"""What is timed while the device is throttled does not count, and is timed again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from latency_model.measurement import paid_ops
from profiler_agent.errors import DeviceThrottled
from search.steps import timing

RUN = SimpleNamespace(measurements=Path("m.jsonl"), device=SimpleNamespace(name="here"))


def device_that_is_throttled(monkeypatch, times, network):
    """Appends one measurement to its file whenever it is asked, of which the first ones do not count."""
    file = []

    def run_campaign(session, networks, path):
        is_usable = len(file) >= times
        report = SimpleNamespace(reason=None if is_usable else "the canary model took 18% longer")
        file.append(SimpleNamespace(paid_ops=paid_ops(network), is_usable=is_usable, report=report))
        return SimpleNamespace(measurements=tuple(file))

    monkeypatch.setattr(timing, "run_campaign", run_campaign)
    return file


def test_a_network_timed_while_throttled_is_timed_again(monkeypatch, space):
    network = space.network((0,) * len(space.positions))
    file = device_that_is_throttled(monkeypatch, 2, network)
    assert timing.usable_measurements(RUN, None, [network]) == (file[2],)


def test_a_device_that_stays_throttled_is_an_error_that_says_why_and_what_to_do(monkeypatch, space):
    network = space.network((0,) * len(space.positions))
    file = device_that_is_throttled(monkeypatch, 99, network)
    with pytest.raises(DeviceThrottled, match=r"canary model took 18% longer.*same command again") as caught:
        timing.usable_measurements(RUN, None, [network])
    assert len(file) == timing.ATTEMPTS and caught.value.exit_code == 3
