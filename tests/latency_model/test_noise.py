"""How noisy the timings of a predictor are, in words."""

import dataclasses

from latency_model.measurement import MeasurementSet
from latency_model.noise import describe_noise


def test_timings_whose_sessions_agree_are_said_to(device, make_networks):
    said = describe_noise(device.measure(make_networks(20)))
    assert said.startswith("noise: the sessions of all 20 timings agree within 3% (0.")


def test_noisy_timings_are_counted_with_how_far_their_sessions_are_apart(device, make_networks):
    quiet = device.measure(make_networks(4)).measurements
    report = dataclasses.replace(quiet[0].report, spread=0.123, verdict="noisy")
    said = describe_noise(MeasurementSet((dataclasses.replace(quiet[0], report=report), *quiet[1:])))
    assert said.startswith("noise: 1 of 4 timings are noisy") and "12.3% at most; 3% are allowed" in said


def test_one_session_tells_no_noise(device, make_networks):
    device.plan = dataclasses.replace(device.plan, session_count=1)
    assert describe_noise(device.measure(make_networks(4))) == (
        "noise: not known, as nothing was timed in several sessions"
    )


def test_timings_of_two_low_quantiles_are_said_to_have_no_common_level(device, make_networks):
    networks = make_networks(4)
    now = dataclasses.replace(device, plan=dataclasses.replace(device.plan, low_quantile=0.25)).measure(networks[:2])
    said = describe_noise(MeasurementSet((*now.measurements, *device.measure(networks[2:]).measurements)))
    assert said.endswith(
        "some stand on another low quantile than others (0.1 and 0.25), so measure the older ones anew"
    )
