"""What whole networks teach: costs and a constant within their bounds, and intervals that count all errors."""

import dataclasses
import itertools

import numpy as np
import pytest

from latency_model.calibration import fit_affine
from latency_model.correction import SHARED_TERMS
from latency_model.fit import fit_predictor
from latency_model.measurement import MeasurementSet, paid_ops
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import MBConvSpec


@pytest.mark.parametrize("saved_ms", [0.004, 0.008])
def test_networks_that_cost_less_than_their_ops_are_predicted_without_a_bias(
    device, make_networks, make_space_ops, saved_ms
):
    thrifty = dataclasses.replace(device, constant_ms=-saved_ms)
    networks = make_networks(90)
    predictor = fit_predictor(thrifty.measure([*make_space_ops(networks), *networks[:30]]))
    error = [predictor.predict_network(n.ops).latency_ms / thrifty.network_ms(n) - 1 for n in networks[30:]]
    assert -0.25 * min(predictor.op_contribution_ms(n.ops).sum() for n in networks[:30]) < predictor.constant_ms < 0
    assert (predictor.op_contribution_ms(networks[0].ops) >= 0).all()
    assert abs(np.mean(error)) < 0.005
    assert np.mean(np.abs(error)) < 0.01


def test_networks_that_pay_to_read_their_weights_teach_the_price_of_a_byte_from_few(
    device, make_networks, make_space_ops
):
    networks = make_networks(60)
    reading = dataclasses.replace(device, ms_per_weight_byte=5e-7)
    assert 1.05 < reading.network_ms(networks[0]) / device.network_ms(networks[0]) < 1.5
    predictor = fit_predictor(reading.measure([*make_space_ops(networks), *networks[:10]]))
    error = [predictor.predict_network(n.ops).latency_ms / reading.network_ms(n) - 1 for n in networks[10:]]
    assert np.mean(np.abs(error)) < 0.02
    column = SHARED_TERMS.index("weights") - len(SHARED_TERMS)
    learned = predictor.correction.shared_scale[column] * predictor.correction.posterior.mean[column]
    assert learned == pytest.approx(5e-7, rel=0.5)


def test_weights_never_cost_less_than_nothing_where_heavy_networks_are_fast(device, make_networks, make_space_ops):
    networks = make_networks(40)
    heavy_is_fast = dataclasses.replace(device, ms_per_weight_byte=-3e-7)
    predictor = fit_predictor(heavy_is_fast.measure([*make_space_ops(networks), *networks[:12]]))
    assert predictor.correction.posterior.mean[SHARED_TERMS.index("weights") - len(SHARED_TERMS)] >= -1e-4


def test_a_network_far_smaller_than_those_that_taught_a_negative_constant_still_takes_its_time(
    device, make_networks, make_space_ops
):
    thrifty = dataclasses.replace(device, constant_ms=-0.008)
    networks = make_networks(30)
    predictor = fit_predictor(thrifty.measure([*make_space_ops(networks), *networks]))
    smallest = min(
        (op for op in make_space_ops(networks) if predictor.op_contribution_ms(op.ops)[0] > 0),
        key=lambda network: predictor.op_contribution_ms(network.ops)[0],
    )
    alone_ms = predictor.op_contribution_ms(smallest.ops)[0]
    assert alone_ms + predictor.constant_ms < 0
    assert predictor.predict_network(smallest.ops).latency_ms == pytest.approx(0.75 * alone_ms)


def test_no_prediction_of_the_card_is_one_that_the_predictor_never_makes(device, make_networks, make_space_ops):
    thrifty = dataclasses.replace(device, constant_ms=-0.03)
    networks = [n for n in make_networks(40) if thrifty.network_ms(n) > 0.06]
    tiny = dataclasses.replace(networks[0], name="tiny", layers=networks[0].layers[-2:])
    kind = dataclasses.replace(device, constant_ms=0.0)
    measured = thrifty.measure([*make_space_ops([*networks, tiny]), *networks]).measurements
    card = fit_predictor(MeasurementSet((*measured, kind.measurement(tiny)))).report_card
    points = card["network_points"]
    smallest = int(np.argmin(points["measured_ms"]))
    without = fit_predictor(MeasurementSet(measured))
    assert without.op_contribution_ms(tiny.ops).sum() + without.constant_ms < 0
    assert points["predicted_ms"][smallest] > 0.5 * points["measured_ms"][smallest]


@pytest.mark.parametrize("op_spread", [0.02, 0.06])
def test_ops_of_their_own_count_in_the_errors_that_the_intervals_come_from(make_device, op_spread):
    rng = np.random.default_rng(0)
    networks = [chain_of_its_own(rng, f"n{index}") for index in range(90)]
    device = make_device(op_spread=op_spread)
    measured = device.measure([*map(single_op_network, ops_of(networks)), *networks[:30]])
    predictor = fit_predictor(measured, "table")
    estimates = [predictor.predict_network(network.ops) for network in networks[30:]]
    half_width = np.mean([(e.high_ms - e.low_ms) / 2 / e.latency_ms for e in estimates])
    held = [e.low_ms <= device.network_ms(n) <= e.high_ms for e, n in zip(estimates, networks[30:], strict=True)]
    assert np.mean(held) >= 0.85
    assert half_width < 1.3 * op_spread
    assert predictor.report_card["networks"]["mean_half_width"] == pytest.approx(half_width, rel=0.2)


def ops_of(networks):
    return list(dict.fromkeys(op for network in networks for op in paid_ops(network)))


def chain_of_its_own(rng, name):
    """A network whose blocks hardly any other one has."""
    widths = [int(width) for width in rng.integers(8, 40, int(rng.integers(4, 8)))]
    blocks = [
        MBConvSpec(
            in_channels=before,
            in_height=14,
            in_width=14,
            out_channels=after,
            expand_channels=before * int(rng.choice([3, 6])),
            kernel_size=int(rng.choice([3, 5, 7])),
        )
        for before, after in itertools.pairwise(widths)
    ]
    return NetworkSpec(name=name, layers=tuple((f"b{index}", block) for index, block in enumerate(blocks)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_device_on_which_all_networks_take_alike_is_not_predicted_too_slow(
    make_device, make_networks, make_space_ops, seed
):
    launch_bound = make_device(noise=0.03, rng=np.random.default_rng(seed))
    networks = make_networks(6)
    ops = launch_bound.measure(make_space_ops(networks)).measurements
    launch_bound.network_ms = lambda network: 0.6 + 0.05 * sum(map(launch_bound.op_ms, paid_ops(network)))
    whole = launch_bound.measure(networks)
    predictor = fit_predictor(MeasurementSet((*ops, *whole.measurements)), "table")
    ratios = [predictor.predict_network(m.paid_ops).latency_ms / m.latency_ms for m in whole.measurements]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def test_the_affine_fit_finds_its_own_terms_and_never_a_negative_one():
    rng = np.random.default_rng(0)
    sums, kernels = rng.uniform(1, 5, 40), rng.integers(10, 60, 40).astype(float)
    a, b, c = fit_affine(sums, kernels, 0.9 * sums + 0.02 * kernels + 0.3)
    assert (a, b, c) == pytest.approx((0.9, 0.02, 0.3), rel=0.05)
    assert min(fit_affine(sums, kernels, np.maximum(0.9 * sums - 0.5, 0.1))) >= 0.0
