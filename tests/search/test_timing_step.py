"""What is timed while the device is throttled does not count, and is timed again; so is what was timed at a pace that
is not its profile's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from latency_model.measurement import paid_ops
from profiler_agent.errors import DeviceThrottled
from search.steps import timing

RUN = SimpleNamespace(measurements=Path("m.jsonl"), device=SimpleNamespace(name="here"))


@pytest.fixture
def network(space):
    return space.network((0,) * len(space.positions))


class MadeUpDevice:
    """Times whatever it is asked for once, at each of the paces in turn; throttled for the first ones."""

    def __init__(self, monkeypatch, *, throttled=0, paces=()):
        self.file, self.throttled, self.paces = [], throttled, paces
        monkeypatch.setattr(timing, "run_campaign", self.run_campaign)
        monkeypatch.setattr(timing, "time_networks", lambda session, networks: map(self.timed, networks))
        monkeypatch.setattr(timing, "append_measurement", lambda path, measurement: self.file.append(measurement))
        monkeypatch.setattr(timing, "read_measurements", lambda path: SimpleNamespace(measurements=tuple(self.file)))
        monkeypatch.setattr(timing, "profile_if_any", lambda run: "profile" if paces else None)
        monkeypatch.setattr(timing, "pace_since", lambda profiled, measurement: measurement.pace)

    def timed(self, network):
        number = len(self.file)
        reason = "the canary model took 18% longer" if number < self.throttled else None
        return SimpleNamespace(
            paid_ops=paid_ops(network),
            is_usable=reason is None,
            report=SimpleNamespace(reason=reason),
            pace=self.paces[number] if self.paces else None,
        )

    def run_campaign(self, session, networks, path):
        done = {one.paid_ops for one in self.file if one.is_usable}
        self.file += [self.timed(network) for network in networks if paid_ops(network) not in done]
        return SimpleNamespace(measurements=tuple(self.file))


def test_a_network_timed_while_throttled_is_timed_again(monkeypatch, network):
    device = MadeUpDevice(monkeypatch, throttled=2)
    assert timing.measured_networks(RUN, None, [network, network]) == {paid_ops(network): [device.file[2]]}
    assert len(device.file) == 3


def test_a_device_that_stays_throttled_is_an_error_that_says_why_and_what_to_do(monkeypatch, network):
    device = MadeUpDevice(monkeypatch, throttled=99)
    with pytest.raises(DeviceThrottled, match=r"canary model took 18% longer.*same command again") as caught:
        timing.measured_networks(RUN, None, [network])
    assert len(device.file) == timing.ATTEMPTS and caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("paces", "timed", "chosen"),
    [
        ((1.01, 9.0), 1, 0),  # at the profile's pace at once
        ((1.07, 0.96, 1.0, 9.0), 3, 2),  # at the third try
        ((1.07, 0.96, 1.05, 0.95), 4, 1),  # never: the nearest counts
        ((None,), 1, 0),  # nobody knows
    ],
)
def test_a_network_is_timed_until_the_device_is_at_its_profiles_pace(monkeypatch, network, paces, timed, chosen):
    device = MadeUpDevice(monkeypatch, paces=paces)
    for _ in range(2):  # a resumed run decides the same and times nothing again
        measured = timing.measured_networks(RUN, None, [network])[paid_ops(network)]
        assert measured[0] == device.file[chosen] and len(measured) == timed
        assert len(device.file) == timed


def test_what_was_timed_later_does_not_change_what_was_decided(monkeypatch, network):
    device = MadeUpDevice(monkeypatch, paces=(1.07, 1.01, 1.0, 1.0))
    before = timing.measured_networks(RUN, None, [network])
    device.file += [device.timed(network), device.timed(network)]  # as a verification does
    assert timing.measured_networks(RUN, None, [network]) == before
    assert len(before[paid_ops(network)]) == 2


def test_what_a_throttled_device_says_of_its_pace_does_not_count(monkeypatch, network):
    device = MadeUpDevice(monkeypatch, throttled=1, paces=(1.0, 1.05, 1.01))
    assert timing.measured_networks(RUN, None, [network]) == {paid_ops(network): [device.file[2], device.file[1]]}


def test_without_a_profile_nothing_is_timed_twice(monkeypatch, network):
    device = MadeUpDevice(monkeypatch)
    assert timing.measured_networks(RUN, None, [network]) == {paid_ops(network): [device.file[0]]}
    assert timing.pace_distance(None, device.file) == 0.0
