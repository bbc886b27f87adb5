"""Verifying: a file is timed on its device, joins its set, and is held against its budget."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from latency_model.errors import MixedMeasurementsError, PredictorMismatchError
from latency_model.fit import fit_network_latency
from latency_model.lowering import Int8Options, nominal_ranges, random_weights, write_onnx
from latency_model.lowering.torchscript import write_torchscript
from latency_model.measurement import paid_ops
from latency_model.measurement_file import append_measurement, read_measurements
from latency_model.network import network_to_json, single_op_network, with_dtype
from latency_model.predictors import TablePredictor
from profiler_agent.device import load_device
from profiler_agent.stability import StabilityReport
from search import cli
from search.errors import BudgetMissed, RunFolderError
from search.export_formats import ALL_FORMATS, write_format
from search.files import write_json
from search.ship.verify_file import KnownNetwork, VerifiedFile, known_network, require_numbers, verify_file
from search.steps.verify import require_budget
from tests.latency_model.conftest import AnalyticDevice
from tests.search.quick_device import QUICK_DEVICE


@pytest.fixture
def device(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    return load_device(tmp_path / "device.yaml")


@pytest.fixture
def exported(space, tmp_path):
    return export(space.network((1, 0), "derived"), tmp_path / "derived.onnx")


def export(network, path, key="onnx"):
    form = next(form for form in ALL_FORMATS if form.key == key)
    int8 = Int8Options(ranges=nominal_ranges(), io="float")
    write_format(form, network, random_weights(network), path, int8=int8, metadata={})
    return path


@pytest.fixture
def predictor(space):
    """Of single-precision ops, of a made-up device."""
    networks = [space.network((first, second)) for first in range(2) for second in range(3)]
    ops = dict.fromkeys(op for network in networks for op in paid_ops(network))
    made_up = AnalyticDevice()
    table = TablePredictor.fit(made_up.measure([single_op_network(op) for op in ops]).op_timings())
    return fit_network_latency(table, made_up.measure(networks).measurements)


def test_any_exported_file_is_timed_on_a_device(exported, device):
    verified = verify_file(exported, device)
    assert 0 < verified.report.latency_ms < 1000
    assert verified.predicted is None and "derived.onnx on quick_cpu: measured" in str(verified)


def test_an_exported_torchscript_file_is_timed_on_a_device_that_runs_torch(space, tmp_path, capsys):
    network = space.network((1, 0), "derived")
    write_torchscript(network, random_weights(network), tmp_path / "derived.pt")
    (tmp_path / "torch.yaml").write_text(QUICK_DEVICE.replace("name: onnxruntime", "name: torch"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(tmp_path / "derived.pt"), "--device", str(tmp_path / "torch.yaml")])
    words = capsys.readouterr()
    assert ended.value.code == 0 and "derived.pt on quick_cpu: measured" in words.out, words.err
    with pytest.raises(RunFolderError, match="TorchScript file, which does not say what network it holds"):
        known_network(tmp_path / "derived.pt", None)


@pytest.mark.parametrize("key, dtype", [("onnx", "fp32"), ("onnx-int8", "int8")])
def test_a_timing_joins_its_measurements_as_the_network_and_numbers_that_the_file_holds(
    space, device, tmp_path, key, dtype
):
    network = space.network((1, 0), "derived")
    path = export(network, tmp_path / "renamed.onnx", key)
    known = KnownNetwork(network=known_network(path, None), measurements=tmp_path / "measurements.jsonl")
    verified = verify_file(path, device, known=known)
    (joined,) = read_measurements(tmp_path / "measurements.jsonl").measurements
    assert joined.network == with_dtype(network, dtype) and joined.latency_ms == verified.report.latency_ms


def test_the_network_that_a_file_is_said_to_hold_must_be_its_own(space, exported, tmp_path):
    for name, choices in (("same", (1, 0)), ("other", (0, 0))):
        write_json(tmp_path / f"{name}.json", network_to_json(space.network(choices, name)))
    assert known_network(exported, tmp_path / "same.json").name == "derived"
    with pytest.raises(RunFolderError, match=r"'derived' with other layers than those of .*other\.json"):
        known_network(exported, tmp_path / "other.json")


def test_a_file_that_does_not_say_what_it_holds_is_neither_predicted_nor_kept(space, tmp_path):
    network = space.network((1, 0), "derived")
    write_onnx(network, random_weights(network), tmp_path / "foreign.onnx")
    write_json(tmp_path / "derived.json", network_to_json(network))
    with pytest.raises(RunFolderError, match="does not say which network it holds"):
        known_network(tmp_path / "foreign.onnx", tmp_path / "derived.json")


def test_a_predictor_of_other_numbers_is_refused(predictor, space):
    network = space.network((1, 0), "derived")
    require_numbers(predictor, network)
    with pytest.raises(PredictorMismatchError, match="in int8; the predictor was fitted on fp32 alone"):
        require_numbers(predictor, with_dtype(network, "int8"))


def test_a_predictor_of_another_device_is_refused(predictor, exported, device, tmp_path):
    predictor.save(tmp_path / "predictor")
    known = KnownNetwork(network=known_network(exported, None), predictor=tmp_path / "predictor")
    with pytest.raises(PredictorMismatchError, match="made-up"):
        verify_file(exported, device, known=known)


def test_measurements_of_another_device_are_refused_and_stay_as_they_are(exported, device, tmp_path):
    network, path = known_network(exported, None), tmp_path / "measurements.jsonl"
    append_measurement(path, AnalyticDevice().measurement(network))
    before = path.read_bytes()
    with pytest.raises(MixedMeasurementsError, match="give another file"):
        verify_file(exported, device, known=KnownNetwork(network=network, measurements=path))
    assert path.read_bytes() == before


def test_a_file_for_another_runtime_is_refused(device, tmp_path):
    (tmp_path / "derived.tflite").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"takes \.onnx files"):
        verify_file(tmp_path / "derived.tflite", device)


def test_a_missing_file_is_wrong_use_and_not_our_fault(device, tmp_path):
    with pytest.raises(RunFolderError, match="is not there") as raised:
        verify_file(tmp_path / "derived.onnx", device)
    assert raised.value.exit_code == 2


def verified_at(path, measured_ms, verdict="accepted", spread=0.01):
    """A file that took so long where 1 ms is allowed."""
    report = StabilityReport(
        latency_ms=measured_ms,
        median_ms=measured_ms,
        spread=spread,
        canary_drift=0.0,
        preempted_share=0.0,
        verdict=verdict,
    )
    return VerifiedFile(path=path, device="phone", report=report, predicted=None, target_ms=1.0)


@pytest.mark.parametrize("measured_ms, is_missed", [(0.9, False), (1.02, False), (1.04, True)])
def test_a_budget_is_missed_by_more_than_three_percent(tmp_path, measured_ms, is_missed):
    verified = verified_at(tmp_path / "a.onnx", measured_ms)
    if is_missed:
        with pytest.raises(BudgetMissed) as raised:
            verified.require_budget()
        assert raised.value.exit_code == 4
    else:
        verified.require_budget()


@pytest.mark.parametrize(
    "measured_ms, verdict, spread, advises_quiet",
    [
        (2.0, "accepted", 0.01, False),
        (1.05, "accepted", 0.01, True),
        (1.2, "accepted", 0.25, True),
        (2.0, "noisy", 0.01, True),
    ],
)
def test_a_quiet_device_is_advised_only_where_noise_may_be_why_the_budget_is_missed(
    tmp_path, measured_ms, verdict, spread, advises_quiet
):
    with pytest.raises(BudgetMissed, match="hip a smaller network") as raised:
        verified_at(tmp_path / "a.onnx", measured_ms, verdict, spread).require_budget()
    assert ("when the device is quiet" in str(raised.value)) == advises_quiet


@pytest.mark.parametrize(
    ("measured_ms", "pace", "advises_quiet", "advises_speed"),
    [(2.0, None, False, False), (1.05, 1.01, True, False), (1.05, 1.06, False, True), (2.0, 1.06, False, False)],
)
def test_a_run_that_misses_its_budget_is_told_what_may_be_why(
    tmp_path, measured_ms, pace, advises_quiet, advises_speed
):
    run = SimpleNamespace(
        folder=SimpleNamespace(verification=lambda name: tmp_path / f"{name}.json"),
        device=SimpleNamespace(name="phone"),
        measurements=tmp_path / "measurements.jsonl",
    )
    record = {"measured_ms": measured_ms, "target_ms": 1.0, "spread": 0.01, "verdict": "accepted", "pace": pace}
    write_json(tmp_path / "derived.json", record)
    with pytest.raises(BudgetMissed, match="earch with a lower target") as raised:
        require_budget(run)
    assert ("when the device is quiet" in str(raised.value)) == advises_quiet
    assert ("ran 6% slower than at its profile" in str(raised.value)) == advises_speed


def test_a_file_that_the_runtime_refuses_is_wrong_use_and_no_fault_of_the_device(device, tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"no model")
    with pytest.raises(RunFolderError, match=r"torn\.onnx does not run under onnxruntime on quick_cpu: .+") as caught:
        verify_file(tmp_path / "torn.onnx", device)
    assert caught.value.exit_code == 2
