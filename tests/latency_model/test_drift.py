"""Drift: found where it is, left alone where it is not, corrected by the canary."""

import dataclasses

import numpy as np
import pytest

from latency_model.drift import canary_ms, correct_drift, describe_drift, detect_drift, local_level, pace_since
from latency_model.fit import corrected_by, fit_predictor, judge_on
from latency_model.measurement import MeasurementSet


def slow_wave(count: int, size: float) -> np.ndarray:
    return size * np.sin(np.arange(count) / 15)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).standard_normal(count)


def test_a_slow_wave_is_drift_and_following_it_removes_most_of_it():
    report = detect_drift(slow_wave(300, 0.1) + noise(300))
    assert report.is_drifting
    assert report.gain > 0.7
    assert "removes" in describe_drift(report)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_drift(seed):
    assert not detect_drift(noise(300, seed)).is_drifting


def test_alternating_residuals_are_no_drift():
    assert not detect_drift(np.tile([0.1, -0.1], 100) + noise(200)).is_drifting


def test_few_or_constant_measurements_say_nothing():
    assert not detect_drift(slow_wave(10, 0.1)).is_drifting
    assert not detect_drift(np.zeros(100)).is_drifting
    assert "no drift" in describe_drift(detect_drift(np.zeros(100)))


def test_the_level_at_a_moment_does_not_look_at_its_own_measurement():
    series = noise(50)
    spiked = series.copy()
    spiked[20] = 5.0
    known = np.ones(50, dtype=bool)
    assert local_level(spiked, known, 4)[20] == local_level(series, known, 4)[20]


def test_a_jump_is_followed_at_once_and_a_wild_sample_is_forgotten():
    series = np.concatenate([np.zeros(30), np.full(30, 0.5)])
    series[10] = 3.0
    level = local_level(series, np.ones(60, dtype=bool), 4)
    assert np.allclose(level[11:28], 0.0)
    assert np.allclose(level[33:], 0.5)


def test_unknown_moments_are_read_from_known_neighbours():
    series = slow_wave(200, 0.1)
    known = np.arange(200) % 3 > 0
    level = local_level(np.where(known, series, np.nan), known, 4)
    assert np.abs(level - series)[~known].max() < 0.02


def with_canaries(measured: MeasurementSet, factors: np.ndarray) -> MeasurementSet:
    """The same measurements as made on a device that slows down by ``factors``."""
    slowed = []
    for measurement, factor in zip(measured.measurements, factors):
        sessions = tuple(
            dataclasses.replace(session, canary_ms=tuple(factor * ms for ms in session.canary_ms))
            for session in measurement.timing.sessions
        )
        report = dataclasses.replace(measurement.report, latency_ms=measurement.latency_ms * factor)
        timing = dataclasses.replace(measurement.timing, sessions=sessions)
        slowed.append(dataclasses.replace(measurement, timing=timing, report=report))
    return MeasurementSet(tuple(slowed))


def test_a_drifting_canary_corrects_the_latencies_and_leaves_the_raw_timings(device, make_networks):
    steady = device.measure(make_networks(60))
    slowed = with_canaries(steady, np.exp(slow_wave(60, 0.2)))
    corrected, report = correct_drift(slowed)
    assert report.is_drifting
    ratio = [c.latency_ms / s.latency_ms for c, s in zip(corrected.measurements, steady.measurements)]
    assert np.ptp(np.log(ratio)) < 1e-9
    assert corrected.measurements[5].timing == slowed.measurements[5].timing


def test_a_noisy_canary_that_drifts_corrects_by_the_level_of_its_neighbours_not_by_its_noise(device, make_networks):
    steady = device.measure(make_networks(300))
    course = slow_wave(300, 0.1)
    slowed = with_canaries(steady, np.exp(course))
    noisy = with_canaries(steady, np.exp(course + 3 * noise(300, 7)))
    measurements = tuple(
        dataclasses.replace(canary, report=network.report)
        for canary, network in zip(noisy.measurements, slowed.measurements)
    )
    corrected, report = correct_drift(MeasurementSet(measurements))
    assert report.is_drifting
    ratio = np.log([c.latency_ms / s.latency_ms for c, s in zip(corrected.measurements, steady.measurements)])
    assert np.std(ratio) < 0.02  # the canary strays by 0.03, the device by 0.07


def test_a_wild_canary_among_many_steady_ones_does_not_correct_every_latency(device, make_networks):
    factors = np.exp(noise(60))
    factors[30] = 1.3
    jittered = with_canaries(device.measure(make_networks(60)), factors)
    assert correct_drift(jittered)[0] is jittered


def test_a_steady_canary_changes_nothing(device, make_networks):
    steady = device.measure(make_networks(60))
    jittered = with_canaries(steady, np.exp(noise(60)))
    corrected, report = correct_drift(jittered)
    assert not report.is_drifting
    assert corrected is jittered


def test_a_jump_between_two_sessions_is_corrected_though_two_moments_are_too_few_for_a_test(device, make_networks):
    steady = device.measure(make_networks(40))
    corrected, report = correct_drift(with_canaries(steady, np.repeat([1.0, 1.25], 20)))
    assert report.is_drifting
    assert describe_drift(report) == (
        "drift: the canary took 25.0% longer at its slowest than at its fastest; each latency is corrected by the "
        "canary beside it"
    )
    ratio = [c.latency_ms / s.latency_ms for c, s in zip(corrected.measurements, steady.measurements)]
    assert np.ptp(np.log(ratio)) < 1e-9


@pytest.mark.parametrize("again", [1, 9, 28, 70])
def test_a_later_batch_at_another_pace_is_corrected_by_that_of_its_own(device, make_networks, again):
    steady = device.measure(make_networks(110 + again))
    course = np.repeat([0.0, np.log(0.84)], [110, again])
    corrected, report = correct_drift(in_batches(with_canaries(steady, np.exp(course)), course, 0.005))
    assert report.is_drifting
    ratio = np.log([c.latency_ms / s.latency_ms for c, s in zip(corrected.measurements, steady.measurements)])
    assert np.ptp(ratio) < 0.02


def test_a_predictor_is_judged_at_the_pace_that_it_was_fitted_at(device, make_networks, make_space_ops):
    networks = make_networks(60)
    steady = device.measure([*make_space_ops(networks), *networks])
    count = len(steady.measurements)
    course = np.repeat([0.0, np.log(0.84)], [count - 30, 30])
    apart = in_batches(with_canaries(steady, np.exp(course)), course, 0.002)
    card = judge_on(fit_predictor(apart, "table"), apart)
    assert card["networks"]["mape"] < 0.02 and "corrected" in card["drift"]


def test_a_course_within_batches_that_are_apart_is_corrected_with_them(device, make_networks):
    steady = device.measure(make_networks(200))
    apart = np.repeat([0.0, np.log(0.84)], 100)
    slowed = with_canaries(steady, np.exp(apart + slow_wave(200, 0.1)))
    corrected, report = correct_drift(in_batches(slowed, apart, 0.002))
    assert report.is_drifting
    ratio = np.log([c.latency_ms / s.latency_ms for c, s in zip(corrected.measurements, steady.measurements)])
    assert np.std(ratio) < 0.02  # the batches are 0.17 apart, the wave's deviation is 0.07


def test_batches_at_one_pace_are_left_alone(device, make_networks):
    steady = device.measure(make_networks(60))
    measured = in_batches(steady, np.repeat([0.0, 1.0], 30), 0.01)
    corrected, report = correct_drift(measured)
    assert corrected is measured
    assert not report.is_drifting


def test_a_canary_or_two_do_not_speak_for_a_batch_within_the_canary_limit(device, make_networks):
    steady = device.measure(make_networks(60))
    measured = in_batches(with_canaries(steady, np.repeat([1.0, 1.06], [58, 2])), np.repeat([0.0, 1.0], [58, 2]), 0.002)
    assert correct_drift(measured)[0] is measured


def in_batches(measured: MeasurementSet, batches: np.ndarray, jitter: float) -> MeasurementSet:
    """The same with batches told apart by what the device said before them, and canaries that stray by ``jitter``."""
    strays = with_canaries(measured, np.exp(jitter * np.random.default_rng(1).standard_normal(len(measured))))
    return MeasurementSet(
        tuple(
            dataclasses.replace(
                one, timing=dataclasses.replace(stray.timing, facts_before={"cpu_ticks": [float(batch)]})
            )
            for one, stray, batch in zip(measured.measurements, strays.measurements, batches)
        )
    )


def test_sessions_that_differ_by_a_percent_are_left_alone(device, make_networks):
    measured = with_canaries(device.measure(make_networks(40)), np.repeat([1.0, 1.01], 20))
    corrected, report = correct_drift(measured)
    assert corrected is measured
    assert not report.is_drifting
    said = describe_drift(report)
    assert said.startswith("no drift seen: the canary took 1.0% longer") and "moments: 2, too few for a test" in said


def test_a_course_smaller_than_what_sessions_differ_by_is_told_and_not_corrected(device, make_networks):
    measured = with_canaries(device.measure(make_networks(60)), np.exp(slow_wave(60, 0.005)))
    corrected, report = correct_drift(measured)
    assert corrected is measured
    assert not report.is_drifting
    said = describe_drift(report)
    assert said.startswith("no drift to correct: the canary took 0.9% longer")
    assert said.endswith("less than what sessions may differ by")


def test_without_a_canary_beside_every_network_drift_is_not_known(device, make_networks):
    first, *rest = device.measure(make_networks(30)).measurements
    sessions = tuple(dataclasses.replace(session, canary_ms=()) for session in first.timing.sessions)
    alone = dataclasses.replace(first, timing=dataclasses.replace(first.timing, sessions=sessions))
    measured = MeasurementSet((alone, *rest))
    corrected, report = correct_drift(measured)
    assert corrected is measured
    assert describe_drift(report) == "drift: not known, as not every network was timed beside a canary"


def test_the_canary_of_a_measurement_is_that_of_the_sessions_it_stands_on(device, make_networks):
    assert canary_ms(device.measure(make_networks(1)).measurements[0]) == pytest.approx(0.1)


def test_the_pace_since_a_profile_is_that_of_the_canary(device, make_networks):
    profiled = device.measure(make_networks(5))
    later = with_canaries(profiled, np.full(5, 0.93)).measurements[0]
    assert pace_since(profiled, later) == pytest.approx(0.93)


def test_without_a_canary_no_pace_is_known(device, make_networks):
    profiled = device.measure(make_networks(2))
    first = profiled.measurements[0]
    sessions = tuple(dataclasses.replace(session, canary_ms=()) for session in first.timing.sessions)
    alone = dataclasses.replace(first, timing=dataclasses.replace(first.timing, sessions=sessions))
    assert pace_since(profiled, alone) is None
    assert pace_since(MeasurementSet((alone,)), first) is None


def test_a_correction_with_networks_timed_since_is_fitted_at_the_pace_of_the_first_fit(
    device, make_networks, make_space_ops
):
    networks = make_networks(40)
    order = [*make_space_ops(networks), *networks]
    np.random.default_rng(0).shuffle(order)
    profile = with_canaries(device.measure(order), np.exp(slow_wave(len(order), 0.2)))
    first = fit_predictor(profile)
    again = corrected_by(first.op_predictor, profile, [])
    for network in networks[:5]:
        found = again.predict_network(network.ops)
        assert str(found) == str(first.predict_network(network.ops))
