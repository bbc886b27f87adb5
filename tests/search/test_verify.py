"""Verifying: a file is timed on its device, joins its set, and is held against its budget."""

from __future__ import annotations

import pytest

from latency_model.lowering import random_weights, write_onnx
from latency_model.measurement import read_measurements
from latency_model.network import network_to_json
from profiler_agent.device import load_device
from profiler_agent.stability import StabilityReport
from search.errors import BudgetMissed, RunFolderError
from search.files import write_json
from search.ship.verify_file import KnownNetwork, VerifiedFile, network_beside, verify_file
from tests.search.quick_device import QUICK_DEVICE


@pytest.fixture
def device(tmp_path):
    (tmp_path / "device.yaml").write_text(QUICK_DEVICE)
    return load_device(tmp_path / "device.yaml")


@pytest.fixture
def exported(space, tmp_path):
    network = space.network((1, 0), "derived")
    write_onnx(network, random_weights(network), tmp_path / "derived.onnx")
    write_json(tmp_path / "derived.json", network_to_json(network))
    return tmp_path / "derived.onnx"


def test_any_exported_file_is_timed_on_a_device(exported, device):
    verified = verify_file(exported, device)
    assert 0 < verified.report.latency_ms < 1000
    assert verified.predicted is None and "derived.onnx on quick_cpu: measured" in str(verified)


def test_a_timing_joins_the_measurements_that_it_is_given(exported, device, tmp_path):
    known = KnownNetwork(network=network_beside(exported, None), measurements=tmp_path / "measurements.jsonl")
    verified = verify_file(exported, device, known=known)
    (joined,) = read_measurements(tmp_path / "measurements.jsonl").measurements
    assert joined.network == known.network and joined.latency_ms == verified.report.latency_ms


def test_a_file_for_another_runtime_is_refused(device, tmp_path):
    (tmp_path / "derived.tflite").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"takes \.onnx files"):
        verify_file(tmp_path / "derived.tflite", device)


def test_a_missing_file_is_wrong_use_and_not_our_fault(device, tmp_path):
    with pytest.raises(RunFolderError, match="is not there") as raised:
        verify_file(tmp_path / "derived.onnx", device)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("measured_ms, is_missed", [(0.9, False), (1.02, False), (1.04, True)])
def test_a_budget_is_missed_by_more_than_three_percent(tmp_path, measured_ms, is_missed):
    report = StabilityReport(
        latency_ms=measured_ms,
        median_ms=measured_ms,
        spread=0.01,
        canary_drift=0.0,
        preempted_share=0.0,
        verdict="accepted",
    )
    verified = VerifiedFile(path=tmp_path / "a.onnx", device="phone", report=report, predicted=None, target_ms=1.0)
    if is_missed:
        with pytest.raises(BudgetMissed) as raised:
            verified.require_budget()
        assert raised.value.exit_code == 4
    else:
        verified.require_budget()
