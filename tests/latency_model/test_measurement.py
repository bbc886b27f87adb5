"""Measurements: written, read back, pooled only when comparable."""

import dataclasses
import json
import subprocess

import pytest

from latency_model.errors import MeasurementError, MixedMeasurementsError, PredictorMismatchError, SchemaError
from latency_model.fit import fit_predictor, git_commit
from latency_model.measurement import MeasurementSet
from latency_model.measurement_file import (
    append_measurement,
    measurement_from_json,
    measurement_to_json,
    read_measurements,
)
from latency_model.network import NetworkSpec, single_op_network
from latency_model.network_latency import check_predictor_matches
from latency_model.ops import ConvSpec, IdentitySpec

CONV = ConvSpec(in_channels=8, in_height=8, in_width=8, out_channels=8, kernel_size=3)


def throttled(measurement):
    return dataclasses.replace(measurement, report=dataclasses.replace(measurement.report, verdict="throttled"))


def noisy(measurement):
    return dataclasses.replace(measurement, report=dataclasses.replace(measurement.report, verdict="noisy"))


def test_a_measurement_is_read_back_as_it_was_written(device, tmp_path):
    path = tmp_path / "deep" / "measurements.jsonl"
    first, second = (device.measurement(single_op_network(op)) for op in (CONV, CONV))
    append_measurement(path, first)
    append_measurement(path, second)
    assert read_measurements(path).measurements == (first, second)


def test_a_torn_last_line_loses_only_itself_and_the_next_one_is_whole(device, tmp_path):
    path = tmp_path / "measurements.jsonl"
    measurement = device.measurement(single_op_network(CONV))
    append_measurement(path, measurement)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert len(read_measurements(path)) == 1
    append_measurement(path, measurement)
    assert len(read_measurements(path)) == 2


def test_a_line_of_something_else_is_refused_with_its_number(device, tmp_path):
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, device.measurement(single_op_network(CONV)))
    path.write_text(path.read_text() + "latency: 3 ms\n")
    with pytest.raises(MeasurementError, match="line 2"):
        read_measurements(path)


@pytest.mark.parametrize("line", ["[1]", "3", '"text"', "{}", '{"schema": 1, "name": "a network"}', "null"])
def test_a_line_that_is_json_of_something_else_is_refused_with_its_number(device, tmp_path, line):
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, device.measurement(single_op_network(CONV)))
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(MeasurementError, match=r"line 2: This is no measurement.*\.jsonl file"):
        read_measurements(path)


@pytest.mark.parametrize(
    "content", [b"op,latency_ms\nconv,3\n", b'{\n "schema": 1,\n "name": "n"\n}\n', b"\x08\x07pytorch\n\xff\xfe"]
)
def test_a_file_of_something_else_is_named_as_such_and_no_line_of_it_is_to_be_removed(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=r"no measurements file \(line .*\.jsonl file") as caught:
        read_measurements(path)
    assert "Remove" not in str(caught.value)


def test_a_stray_first_line_of_a_measurements_file_is_to_be_removed(device, tmp_path):
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, device.measurement(single_op_network(CONV)))
    path.write_text("latency: 3 ms\n" + path.read_text())
    with pytest.raises(MeasurementError, match=r"line 1: no JSON .*Remove the line"):
        read_measurements(path)


def test_a_schema_from_the_future_is_refused(device, tmp_path):
    path = tmp_path / "measurements.jsonl"
    data = measurement_to_json(device.measurement(single_op_network(CONV)))
    path.write_text(json.dumps(data | {"schema": 99}))
    with pytest.raises(SchemaError, match=r"99.*reads schemas up to 3"):
        read_measurements(path)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 0.0])
def test_a_latency_that_no_clock_could_give_is_refused(device, value):
    data = measurement_to_json(device.measurement(single_op_network(CONV)))
    data["timing"]["sessions"][0]["samples_ms"][0] = value
    with pytest.raises(Exception, match="above 0"):
        measurement_from_json(data)


def test_measurements_of_two_devices_do_not_mix(device):
    one = device.measurement(single_op_network(CONV))
    other = dataclasses.replace(one, identity=dataclasses.replace(one.identity, fingerprint="beef"))
    with pytest.raises(MixedMeasurementsError, match="differ in fingerprint"):
        MeasurementSet((one, other))


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(MeasurementError, match="proxyless profile"):
        read_measurements(tmp_path / "none.jsonl")


def test_an_accepted_repeat_replaces_a_noisy_one_and_throttled_ones_are_left_out(device):
    conv = device.measurement(single_op_network(CONV))
    assert MeasurementSet((noisy(conv), conv)).usable() == (conv,)
    assert MeasurementSet((conv, noisy(conv))).usable() == (conv,)
    assert MeasurementSet((throttled(conv),)).usable() == ()


def test_an_op_beside_an_identity_is_still_a_single_op(device):
    identity = IdentitySpec(in_channels=8, in_height=8, in_width=8)
    network = NetworkSpec(name="n", layers=(("skip", identity), ("conv", CONV)))
    measured = MeasurementSet((device.measurement(network),))
    assert measured.op_timings().ops == (CONV,)
    assert measured.network_measurements() == ()


def test_the_table_has_a_row_per_measurement(device, make_networks):
    measured = device.measure(make_networks(3))
    table = measured.table()
    assert len(table) == 3
    assert table["latency_ms"].tolist() == [m.latency_ms for m in measured.measurements]


def test_a_measurement_of_schema_1_is_read_with_the_cores_that_its_timing_names(device):
    measurement = device.measurement(single_op_network(CONV))
    data = measurement_to_json(measurement) | {"schema": 1}
    del data["identity"]["accelerator"], data["identity"]["core_mask"]
    one_run_before_each = dataclasses.replace(measurement.identity, burst_warmup_runs=1)
    assert measurement_from_json(data).identity == one_run_before_each
    data["timing"]["core_mask"] = "0F0"
    assert measurement_from_json(data).identity.core_mask == "f0"


def test_a_measurement_of_before_the_untimed_runs_were_told_had_one_before_each_burst_and_does_not_mix(device):
    measurement = device.measurement(single_op_network(CONV))
    data = measurement_to_json(measurement) | {"schema": 2}
    del data["identity"]["burst_warmup_runs"], data["plan"]["burst_warmup_runs"]
    earlier = measurement_from_json(data)
    assert (earlier.identity.burst_warmup_runs, earlier.plan.burst_warmup_runs) == (1, 1)
    with pytest.raises(
        MixedMeasurementsError, match=r"1 untimed run before each burst and .* differ in burst_warmup_runs"
    ):
        MeasurementSet((earlier, measurement))


@pytest.mark.parametrize(
    "other", [{"accelerator": "gpu"}, {"core_mask": "f"}, {"core_mask": "f0"}, {"burst_warmup_runs": 1}]
)
def test_another_accelerator_other_cores_or_other_warm_ups_are_another_device_to_a_set_and_to_a_predictor(
    make_device, make_networks, make_space_ops, other
):
    device = make_device()
    networks = make_networks(8)
    measured = device.measure([*make_space_ops(networks), *networks])
    foreign = dataclasses.replace(device.identity, **other)
    first = measured.measurements[0]
    with pytest.raises(MixedMeasurementsError, match=next(iter(other))):
        MeasurementSet((first, dataclasses.replace(first, identity=foreign)))
    predictor = fit_predictor(measured, "table")
    with pytest.raises(PredictorMismatchError, match=r"on gpu|cores f|1 untimed run before"):
        check_predictor_matches(predictor, foreign)


def test_one_set_of_cores_is_the_same_however_its_mask_is_written(device):
    masked = [dataclasses.replace(device.identity, core_mask=mask) for mask in ("0F", "f")]
    assert masked[0] == masked[1]


@pytest.mark.parametrize("field", ["latency_ms", "median_ms"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, "0.1", None, True])
def test_a_line_whose_latency_is_none_is_refused_with_its_number(device, tmp_path, field, value):
    path = tmp_path / "measurements.jsonl"
    measurement = device.measurement(single_op_network(CONV))
    append_measurement(path, measurement)
    data = measurement_to_json(measurement)
    data["report"][field] = value
    path.write_text(path.read_text() + json.dumps(data) + "\n")
    with pytest.raises(MeasurementError, match=f"line 2: {field} is .* above 0"):
        read_measurements(path)


def test_a_line_whose_raw_samples_are_no_times_is_refused_with_its_number(device, tmp_path):
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, device.measurement(single_op_network(CONV)))
    data = json.loads(path.read_text())
    data["timing"]["sessions"][0]["samples_ms"][0] = -5
    path.write_text(path.read_text() + json.dumps(data) + "\n")
    with pytest.raises(MeasurementError, match=r"measurements\.jsonl, line 2: samples_ms holds -5.*Remove the line"):
        read_measurements(path)


def test_a_file_in_other_units_is_not_fitted(device, make_networks, make_space_ops):
    networks = make_networks(8)
    in_nanoseconds = MeasurementSet(
        tuple(
            dataclasses.replace(m, report=dataclasses.replace(m.report, latency_ms=1e6 * m.latency_ms))
            for m in device.measure([*make_space_ops(networks), *networks]).measurements
        )
    )
    with pytest.raises(MeasurementError, match="no device does"):
        fit_predictor(in_nanoseconds, "table")


@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_networks_in_another_unit_than_their_ops_are_not_fitted(device, make_networks, make_space_ops, factor):
    networks = make_networks(8)
    whole = (
        dataclasses.replace(m, report=dataclasses.replace(m.report, latency_ms=factor * m.latency_ms))
        for m in device.measure(networks).measurements
    )
    mixed = MeasurementSet((*device.measure(make_space_ops(networks)).measurements, *whole))
    with pytest.raises(MeasurementError, match=r"times the sum of their ops measured alone.*measure them again"):
        fit_predictor(mixed, "table")


def test_the_commit_of_a_repository_around_an_installed_package_is_not_taken_for_this_code(tmp_path):
    def git(*arguments):
        author = ("-c", "user.email=a@example.org", "-c", "user.name=a")
        subprocess.run(["git", "-C", str(tmp_path), *author, *arguments], check=True, capture_output=True)

    own, foreign = tmp_path / "own.py", tmp_path / "site-packages" / "fit.py"
    foreign.parent.mkdir()
    for file in (own, foreign):
        file.write_text("")
    git("init")
    git("add", "own.py")
    git("commit", "-m", "theirs")
    assert git_commit(own) is not None
    assert git_commit(foreign) is None
