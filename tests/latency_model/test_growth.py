"""Networks that grow faster than the sum of their ops: the bend itself, and devices with and without one."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from latency_model.cli import formula_of
from latency_model.few_shot.transfer import recalibrate
from latency_model.fit import fit_predictor
from latency_model.growth import NO_GROWTH, SHARES, Growth, growth_by, likely_share
from latency_model.measurement import MeasurementSet
from latency_model.network import NetworkSpec
from latency_model.network_latency import load_network_latency
from latency_model.ops import MBConvSpec
from latency_model.path_latencies import path_latencies

GROWTH = Growth(per_ms=0.4, typical_ms=0.5, most_ms=1.5)


def test_the_sum_is_the_inverse_of_the_latency_inside_and_beyond_what_was_seen():
    sums = np.linspace(0.0, 6.0, 61)
    assert GROWTH.sum_ms(GROWTH.latency_ms(sums)) == pytest.approx(sums)
    assert (np.diff(GROWTH.latency_ms(sums)) > 0).all()


def test_the_share_stays_where_nobody_saw_it_grow():
    assert GROWTH.latency_ms(15.0) == pytest.approx(15.0 * 1.6)
    assert GROWTH.slope(15.0) == pytest.approx(1.6)


@pytest.mark.parametrize("sum_ms", [0.0, 0.3, 1.2, 4.0])
def test_the_slope_is_the_derivative(sum_ms):
    step = 1e-6
    assert GROWTH.slope(sum_ms) == pytest.approx((GROWTH.latency_ms(sum_ms + step) - GROWTH.latency_ms(sum_ms)) / step)


def test_a_device_twice_as_slow_grows_alike():
    assert GROWTH.scaled(2.0).latency_ms(2 * 0.7) == pytest.approx(2 * GROWTH.latency_ms(0.7))
    assert GROWTH.scaled(2.0).latency_ms(2 * 5.0) == pytest.approx(2 * GROWTH.latency_ms(5.0))


def test_a_share_is_that_of_the_mean_network():
    latency_ms = np.array([0.5, 1.0, 1.5])
    growth = growth_by(0.2, latency_ms)
    assert growth.per_ms * latency_ms.mean() == pytest.approx(0.2)
    assert growth.latency_ms(growth.most_ms) == pytest.approx(1.5)
    assert growth_by(0.0, latency_ms) is NO_GROWTH


def test_there_is_no_growth_until_it_is_the_likelier():
    evidence = np.zeros(len(SHARES))
    assert likely_share(SHARES, evidence) == 0.0
    evidence[4] = 3.0
    assert 0.1 < likely_share(SHARES, evidence) < 0.25
    assert likely_share(SHARES[:1], evidence[:1]) == 0.0


@pytest.fixture(scope="module")
def networks(make_networks):
    """As those of a space with skips: some have lost most of the blocks that keep a shape."""
    rng = np.random.default_rng(0)
    return [thinned(network, rng, rng.random()) for network in make_networks(90)]


def thinned(network, rng, share):
    kept = [
        (name, op)
        for name, op in network.layers
        if not isinstance(op, MBConvSpec) or op.input_shape != op.output_shape or rng.random() > share
    ]
    return NetworkSpec(name=network.name, layers=tuple(kept))


@pytest.fixture
def growing(device):
    """Each network takes longer than its parts by a share that rises with it; ops alone do not."""
    straight_ms = device.network_ms

    def grown_ms(network):
        sum_ms = straight_ms(network)
        return sum_ms if len(network.ops) == 1 else sum_ms * (1 + 2.0 * sum_ms)

    device.network_ms = grown_ms
    return device


def measured_by(device, networks, make_space_ops):
    return device.measure([*make_space_ops(networks), *networks])


def errors_of(predictor, device, networks):
    return np.array([predictor.predict_network(n.ops).latency_ms / device.network_ms(n) - 1 for n in networks])


def test_networks_that_grow_are_predicted_without_a_bias_at_either_end(growing, networks, make_space_ops):
    measured = growing.measure([*make_space_ops(networks), *networks[:40]])
    predictor = fit_predictor(measured)
    assert predictor.growth.per_ms == pytest.approx(2.0, rel=0.5)
    held_out = sorted(networks[40:], key=growing.network_ms)
    assert growing.network_ms(held_out[-1]) > 3 * growing.network_ms(held_out[0])
    errors = errors_of(predictor, growing, held_out)
    assert np.abs(errors).mean() < 0.015
    assert abs(errors[:12].mean()) < 0.015
    assert abs(errors[-12:].mean()) < 0.015
    estimates = [predictor.predict_network(n.ops) for n in held_out]
    held = [e.low_ms <= growing.network_ms(n) <= e.high_ms for e, n in zip(estimates, held_out)]
    assert np.mean(held) >= 0.8
    assert "more, the larger the network" in formula_of(predictor)


def test_a_device_whose_networks_add_up_keeps_an_additive_predictor(device, networks, make_space_ops):
    predictor = fit_predictor(measured_by(device, networks, make_space_ops))
    assert predictor.growth == NO_GROWTH
    assert "larger" not in formula_of(predictor)


def test_the_line_of_a_predictor_touches_what_it_says_of_a_typical_network(growing, networks, make_space_ops):
    predictor = fit_predictor(measured_by(growing, networks, make_space_ops))
    lines = np.array([predictor.op_contribution_ms(n.ops).sum() + predictor.constant_ms for n in networks])
    predicted = np.array([predictor.predict_network(n.ops).latency_ms for n in networks])
    assert (lines <= predicted + 1e-12).all()
    typical_ms = float(predictor.growth.latency_ms(predictor.growth.typical_ms))
    nearest = int(np.argmin(np.abs(predicted - typical_ms)))
    assert lines[nearest] == pytest.approx(predicted[nearest], rel=0.005)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_a_search_keeps_to_the_same_networks_as_the_predictor(growing, networks, make_space_ops, quantile):
    predictor = fit_predictor(measured_by(growing, networks, make_space_ops))
    predicted = np.array([predictor.predict_network(n.ops).latency_ms for n in networks])
    target_ms = float(np.quantile(predicted, quantile))
    space_ops = [network.ops[0] for network in make_space_ops(networks)]
    latencies = path_latencies(predictor, [space_ops], networks[0].ops[:1], target_ms)
    of_op = dict(zip(space_ops, latencies.path_latency_ms[0]))
    lines = np.array([latencies.fixed_ms + sum(map(of_op.__getitem__, n.ops[1:])) for n in networks])
    assert ((lines <= target_ms) == (predicted <= target_ms))[np.abs(predicted / target_ms - 1) > 1e-9].all()
    nearest = int(np.argmin(np.abs(predicted - target_ms)))
    assert lines[nearest] == pytest.approx(predicted[nearest], rel=0.01)


def test_a_budget_below_what_every_network_pays_still_prices_every_path(growing, networks, make_space_ops):
    predictor = fit_predictor(measured_by(growing, networks, make_space_ops))
    space_ops = [network.ops[0] for network in make_space_ops(networks)]
    target_ms = float(predictor.growth.latency_ms(max(predictor.sum_constant_ms, 1e-6)))
    latencies = path_latencies(predictor, [space_ops], networks[0].ops[:1], target_ms)
    assert (latencies.path_latency_ms[0] >= 0).all()
    assert latencies.fixed_ms + latencies.path_latency_ms[0].min() > target_ms


def test_growth_is_saved_carried_to_another_unit_and_missing_in_older_folders(
    growing, networks, make_space_ops, tmp_path
):
    predictor = fit_predictor(measured_by(growing, networks, make_space_ops))
    predictor.save(tmp_path / "new")
    loaded = load_network_latency(tmp_path / "new")
    estimates = [str(predictor.predict_network(n.ops)) for n in networks]
    assert [str(loaded.predict_network(n.ops)) for n in networks] == estimates
    slower = dataclasses.replace(growing)
    slower.network_ms = lambda network: 1.3 * growing.network_ms(network)
    carried = recalibrate(loaded, slower.measure(networks[:3]))
    assert np.abs(errors_of(carried, slower, networks)).max() < 0.05
    file = tmp_path / "new" / "network_latency.json"
    older = {name: value for name, value in json.loads(file.read_text()).items() if name != "growth"}
    file.write_text(json.dumps(older | {"schema": 3}))
    assert load_network_latency(tmp_path / "new").growth == NO_GROWTH


def test_few_networks_bend_no_line(growing, networks, make_space_ops):
    measured = measured_by(growing, networks[:5], make_space_ops)
    assert fit_predictor(MeasurementSet(measured.measurements), "table").growth == NO_GROWTH


def test_shares_begin_with_none_and_rise():
    assert SHARES[0] == 0
    assert all(a < b for a, b in itertools.pairwise(SHARES))
