"""The verb transfer: what to measure on a new device, and its predictor from a dozen networks; made-up devices."""

import dataclasses
import json

import numpy as np
import pytest

from latency_model.errors import LatencyModelError, MeasurementError, TooFewSamplesError
from latency_model.fit import fit_predictor
from latency_model.grain import kernels_run_by
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.network import network_from_json, network_to_json, single_op_network, with_dtype
from latency_model.network_latency import load_network_latency
from latency_model.source_pool import pool_of
from latency_model.transferred import transferred_predictor
from tests.latency_model.conftest import IDENTITY

COUNT = 14


def identity_of(name):
    return dataclasses.replace(IDENTITY, device_name=name, fingerprint=name)


@pytest.fixture(scope="module")
def networks(make_networks):
    return make_networks(90)


@pytest.fixture(scope="module")
def target(make_device):
    """A device that launches slowly and moves bytes slowly: unlike each source."""
    rates = {"macs_per_ms": 6e6, "bytes_per_ms": 4e6, "kernel_ms": 0.004, "constant_ms": 0.02}
    return make_device(identity=identity_of("target"), taste=9, op_spread=0.05, rng=np.random.default_rng(9), **rates)


@pytest.fixture(scope="module")
def sources(make_device, networks, make_space_ops, tmp_path_factory):
    """Measurements files of three devices: ops alone and 30 networks each."""
    folder = tmp_path_factory.mktemp("sources")
    rates = ((1e7, 1e7, 0.001), (2e7, 5e6, 0.002), (4e6, 2e7, 0.006))
    for index, (macs_per_ms, bytes_per_ms, kernel_ms) in enumerate(rates):
        device = make_device(
            identity=identity_of(f"source{index}"),
            macs_per_ms=macs_per_ms,
            bytes_per_ms=bytes_per_ms,
            kernel_ms=kernel_ms,
            taste=index,
            rng=np.random.default_rng(index),
        )
        part = networks[20 * index : 20 * index + 30]
        for measurement in device.measure([*make_space_ops(networks), *part]).measurements:
            append_measurement(folder / f"source{index}.jsonl", measurement)
    return sorted(folder.glob("*.jsonl"))


@pytest.fixture(scope="module")
def chosen(run, sources, tmp_path_factory):
    """What the verb says to measure, when nothing was measured on the new device: (its text, the files)."""
    folder = tmp_path_factory.mktemp("chosen") / "to_measure"
    text = run("transfer", folder / "missing.jsonl", *sources, "--choose", COUNT, "--write", folder)
    return text, sorted(folder.glob("*.json"))


@pytest.fixture(scope="module")
def carried(run, sources, target, chosen, tmp_path_factory):
    """The predictor's folder, and what was printed when it was made."""
    folder = tmp_path_factory.mktemp("carried")
    measured = target.measure([network_from_json(json.loads(file.read_text())) for file in chosen[1]])
    for measurement in measured.measurements:
        append_measurement(folder / "target.jsonl", measurement)
    return folder, run("transfer", folder / "target.jsonl", *sources, "--out", folder / "predictor")


def test_without_measurements_it_says_which_networks_to_measure_and_how(chosen, networks):
    text, files = chosen
    found = [network_from_json(json.loads(file.read_text())) for file in files]
    assert len({network.ops for network in found}) == COUNT
    assert {network.ops for network in found} <= {network.ops for network in networks}
    assert all(network.name in text for network in found)
    assert f"--grain networks --networks {COUNT}" in text


def test_the_saved_predictor_is_right_on_networks_of_the_new_device_that_nobody_measured_there(
    run, carried, target, networks, chosen
):
    folder, _ = carried
    seen = {network_from_json(json.loads(file.read_text())).ops for file in chosen[1]}
    fresh = [network for network in networks if network.ops not in seen]
    for index, network in enumerate(fresh[:50]):
        (folder / f"fresh{index:02d}.json").write_text(json.dumps(network_to_json(network)))

    rows = json.loads(run("predict", folder / "predictor", *sorted(folder.glob("fresh*.json")), "--json"))["networks"]

    truth = np.array([target.network_ms(network) for network in fresh[:50]])
    error = np.abs(np.array([row["latency_ms"] for row in rows]) / truth - 1)
    assert error.mean() < 0.03
    held = [row["low_ms"] <= ms <= row["high_ms"] for row, ms in zip(rows, truth, strict=True)]
    assert np.mean(held) >= 0.8


def test_networks_unlike_the_samples_have_wider_intervals_and_lie_inside_them(sources, networks, target):
    known = [read_measurements(path) for path in sources]
    predictors = [fit_predictor(source) for source in known]
    by_size = sorted(networks, key=target.network_ms)
    samples, others = by_size[45:59], [*by_size[:45], *by_size[59:]]  # all samples of a middling size
    measured = target.measure(samples)
    found = pool_of(known, predictors, networks, measured)
    carried = transferred_predictor(found.pool, predictors, found.labels, measured)

    estimates = [carried.predict_network(network.ops) for network in others]
    half_width = np.array([(one.high_ms - one.low_ms) / 2 / one.latency_ms for one in estimates])
    error = np.array([abs(one.latency_ms / target.network_ms(n) - 1) for one, n in zip(estimates, others, strict=True)])
    least_sure = np.argsort(half_width)[-len(others) // 4 :]
    assert half_width[least_sure].mean() > 1.5 * np.median(half_width)
    assert error[least_sure].mean() > 1.5 * np.median(error)
    assert (error <= half_width)[least_sure].mean() >= 0.7
    assert (error <= half_width).mean() >= 0.85


def test_its_error_stands_beside_two_baselines_and_is_the_smallest(carried):
    folder, text = carried
    card = json.loads((folder / "predictor" / "report_card.json").read_text())
    assert f"{COUNT} predicted, MAPE" in text
    assert card["networks"]["count"] == COUNT
    for name, figures in card["baselines"].items():
        assert f"for comparison, {name}: {COUNT} predicted" in text
        assert card["networks"]["mape"] < figures["mape"]
    assert "leave-one-out" in text


def test_no_saved_op_is_free_or_negative(carried, networks):
    predictor = load_network_latency(carried[0] / "predictor")
    ops = list(dict.fromkeys(op for network in networks for op in network.ops))
    known = [op for op in ops if predictor.op_predictor.knows(op)]
    assert len(known) > 20
    assert predictor.op_contribution_ms(known).min() > 0
    assert predictor.constant_ms >= 0


def test_the_report_card_of_a_carried_predictor_is_shown_like_any_other(run, carried, tmp_path):
    text = run("evaluate", carried[0] / "predictor", "--html", tmp_path / "card.html")
    assert f"{COUNT} predicted" in text
    assert (tmp_path / "card.html").read_text().count("<circle") == COUNT


def test_three_networks_of_the_new_device_are_too_few(run, carried, sources, tmp_path):
    lines = (carried[0] / "target.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "few.jsonl").write_text("".join(lines[:3]))
    with pytest.raises(TooFewSamplesError, match="--choose 15"):
        run("transfer", tmp_path / "few.jsonl", *sources)


def test_a_device_is_no_source_of_its_own_and_stands_once_among_the_sources(run, carried, sources):
    with pytest.raises(LatencyModelError, match=r"stands 2 times .*Name each device once"):
        run("transfer", carried[0] / "target.jsonl", *sources, sources[0])
    with pytest.raises(LatencyModelError, match=r"stands 2 times .*proxyless fit"):
        run("transfer", sources[0], *sources)


def test_sources_that_were_measured_by_kernels_carry_over_as_well(run, make_device, make_networks, tmp_path):
    networks = make_networks(30)
    kernels = list(dict.fromkeys(k for network in networks for k in kernels_run_by("onnxruntime", network.ops)))
    for index in range(2):
        device = make_device(
            identity=identity_of(f"kernels{index}"), macs_per_ms=1e7 * (index + 1), rng=np.random.default_rng(index)
        )
        for measurement in device.measure([*map(single_op_network, kernels), *networks]).measurements:
            append_measurement(tmp_path / f"kernels{index}.jsonl", measurement)
    sources = sorted(tmp_path.glob("*.jsonl"))
    text = run("transfer", tmp_path / "missing", *sources, "--choose", COUNT, "--write", tmp_path / "chosen")
    assert f"Measure these {COUNT} networks" in text
    files = sorted((tmp_path / "chosen").glob("*.json"))
    chosen = [network_from_json(json.loads(file.read_text())) for file in files]
    target = make_device(identity=identity_of("new"), macs_per_ms=6e6, rng=np.random.default_rng(9))
    for measurement in target.measure(chosen).measurements:
        append_measurement(tmp_path / "new", measurement)
    run("transfer", tmp_path / "new", *sources, "--out", tmp_path / "predictor")
    rows = json.loads(run("predict", tmp_path / "predictor", *files, "--json"))["networks"]
    error = [abs(row["latency_ms"] / target.network_ms(network) - 1) for row, network in zip(rows, chosen, strict=True)]
    assert np.mean(error) < 0.03


def test_sources_with_nothing_in_common_are_refused_with_the_op_that_they_do_not_know(
    run, make_device, make_networks, make_space_ops, tmp_path
):
    networks = make_networks(8)
    other = [with_dtype(network, "int8") for network in networks]
    for index, (known, whole) in enumerate(((networks, networks), (other, other))):
        device = make_device(identity=identity_of(f"space{index}"))
        for measurement in device.measure([*make_space_ops(known), *whole]).measurements:
            append_measurement(tmp_path / f"space{index}.jsonl", measurement)
    with pytest.raises(TooFewSamplesError, match="holds ops that a source cannot speak of"):
        run("transfer", tmp_path / "missing", *sorted(tmp_path.glob("*.jsonl")), "--choose", 4)


def test_a_source_without_ops_is_named_and_the_new_devices_faults_come_first(run, carried, sources, tmp_path):
    target = carried[0] / "target.jsonl"  # whole networks alone
    with pytest.raises(LatencyModelError, match=r"target\.jsonl cannot be a source device: 0 measured ops"):
        run("transfer", sources[0], target)
    (tmp_path / "torn.jsonl").write_text(target.read_text() + "[1]\n")
    with pytest.raises(MeasurementError, match=r"torn\.jsonl, line \d+"):
        run("transfer", tmp_path / "torn.jsonl", target)
