"""A session on this machine, through the real agent: with the real runtimes, and with a runner that obeys."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.bundle import DeviceFile, device_file
from profiler_agent.check import check_device, check_to_json, quick
from profiler_agent.check_models import check_model
from profiler_agent.cleaning import clean_device
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import PythonRunner, RuntimeOptions, load_device
from profiler_agent.errors import ConfigError, RuntimeMissing, WrongDevice
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.runners.benchmark_model import process_per_round_s
from profiler_agent.session import MODELS_PER_BATCH, ModelFile, first_batch, open_session
from profiler_agent.transports.local import LocalTransport


@pytest.mark.parametrize(("runtime", "place"), [("onnxruntime", "CPUExecutionProvider"), ("litert", "XNNPACK")])
def test_a_real_model_is_timed_by_the_real_runtime(real_runner, runtime, place):
    device = real_runner(runtime)
    models = [ModelFile(model_id="check", path=check_model("check", runtime))]
    canary = ModelFile(model_id="canary", path=check_model("canary", runtime))
    with open_session(device) as session:
        (timing,) = session.time_models(models, canary=canary)
        assert session.ran_on == place
    assert len(timing.sessions) == device.plan.session_count
    for samples in timing.sessions:
        assert len(samples.samples_ms) == len(samples.canary_ms) == device.plan.round_count
        assert all(0.0005 < sample < 50 for sample in samples.samples_ms)
        assert samples.runs_per_burst > 1
        assert all(count is not None for count in samples.involuntary_switches)
    assert timing.facts_before["load_1min"] >= 0
    assert timing.facts_after["free_kb"] > 0


def test_every_model_comes_out_once_and_progress_reaches_the_end(local_device, models):
    files = models(*["ok"] * 120)
    seen: list[tuple[int, int]] = []
    with open_session(local_device) as session:
        timings = list(
            session.time_models(files, canary=files[0], on_progress=lambda done, total: seen.append((done, total)))
        )
    assert sorted(t.model_id for t in timings) == sorted(f.model_id for f in files)
    assert seen[-1] == (240, 240)
    assert all(t.sessions[0].samples_ms == (1.0,) * 4 for t in timings)


def test_a_session_that_ended_well_leaves_only_agent_and_runner_on_the_device(local_device, models):
    with open_session(local_device) as session:
        list(session.time_models(models("ok", "us:20"), canary=models("ok")[0]))
    folder = Path(local_device.directory)
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "made_above"]
    assert len(list((folder / "cache").iterdir())) == 2


def test_clean_leaves_nothing_behind(local_device, models):
    with open_session(local_device) as session:
        list(session.time_models(models("ok"), canary=models("ok")[0]))
    assert clean_device(local_device) == local_device.directory
    assert not Path(local_device.directory).exists()


def test_the_fingerprint_is_the_same_at_every_opening(local_device):
    with open_session(local_device) as first, open_session(local_device) as second:
        assert first.facts.fingerprint == second.facts.fingerprint


def test_numbers_that_name_the_machine_are_not_in_the_facts(local_device):
    with open_session(local_device) as session:
        assert "machine_id" not in session.facts.details


def test_another_device_than_the_pinned_one_is_refused(local_device):
    with (
        pytest.raises(WrongDevice, match="says 0123456789abcdef"),
        open_session(replace(local_device, fingerprint="0123456789abcdef")),
    ):
        pass


def test_a_missing_interpreter_is_named_with_the_mend(local_device):
    device = replace(local_device, runner=replace(local_device.runner, python="/nowhere/python3"))
    with pytest.raises(RuntimeMissing, match=r"under runner\.python in"), open_session(device):
        pass


def test_an_interpreter_may_be_named_from_the_devices_home(local_device, fake_python, monkeypatch, models):
    monkeypatch.setenv("HOME", str(fake_python.parent))
    device = replace(local_device, runner=PythonRunner(python=f"~/{fake_python.name}"))
    with open_session(device) as session:
        assert len(list(session.time_models(models("ok"), canary=models("ok")[0]))) == 1


def test_a_missing_runtime_is_named_with_the_mend(local_device, tmp_path):
    subprocess.run(["python3", "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    runner = replace(local_device.runner, python=str(tmp_path / "bare/bin/python"))
    with (
        pytest.raises(RuntimeMissing, match="no ai-edge-litert"),
        open_session(replace(local_device, runner=runner, runtime=RuntimeOptions(name="litert"))),
    ):
        pass


def test_two_models_of_one_name_are_refused(local_device, models):
    (file,) = models("ok")
    with open_session(local_device) as session, pytest.raises(ConfigError, match="Two models are called"):
        list(session.time_models([file, file], canary=file))


def test_a_model_without_a_file_is_refused(local_device, models, tmp_path):
    lost = ModelFile(model_id="lost", path=tmp_path / "lost.onnx")
    with open_session(local_device) as session, pytest.raises(ConfigError, match="has no file"):
        list(session.time_models([lost], canary=models("ok")[0]))


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert", "torch"])
def test_a_check_reports_latency_noise_and_state_as_json(real_runner, runtime):
    report = check_device(real_runner(runtime))
    data = json.loads(json.dumps(check_to_json(report)))
    assert data["runtime_name"] == runtime
    assert 0 < data["latency_ms"]["canary"] < data["latency_ms"]["check"]
    assert data["stability"]["verdict"] in ("accepted", "noisy", "throttled")
    assert data["seconds"] < 60


def test_another_device_than_the_pinned_one_is_not_cleaned(local_device):
    with open_session(local_device):
        pass
    with pytest.raises(WrongDevice, match="Nothing was removed"):
        clean_device(replace(local_device, fingerprint="0" * 16))
    assert Path(local_device.directory).is_dir()


@pytest.mark.parametrize("name", ["android_adb", "android_adb_gpu"])
def test_a_check_takes_under_twenty_seconds_where_each_round_is_a_process(name):
    device = load_device(Path(__file__).parents[2] / "device_configs" / f"{name}.yaml")
    plan = quick(device).plan
    check_canary_and_canary = 3
    assert plan.max_sessions * process_per_round_s(device.runtime, plan, check_canary_and_canary) < 16
    assert plan.low_quantile == device.plan.low_quantile


def test_a_slow_device_has_time_to_hash_large_models(local_device, tmp_path, monkeypatch):
    limits_s = []

    class Noted(LocalTransport):
        def run(self, argv, timeout_s):
            if "sha256sum" in argv[2] and argv[-1].partition("+")[0] == large.sha256:
                limits_s.append(timeout_s)
            return super().run(argv, timeout_s)

    (tmp_path / "large").write_bytes(bytes(1_000_000))
    large = device_file(tmp_path / "large")
    monkeypatch.setattr("profiler_agent.deploy._SLOWEST_HASH_BYTES_PER_S", 10_000)
    DeviceFolder(RemoteShell(Noted()), local_device.directory).put([large])
    assert len(limits_s) == 2  # what is there already, and what has arrived
    assert min(limits_s) >= 100


def test_no_more_models_are_on_the_device_at_a_time_than_count_and_bytes_allow(tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(bytes(10))
    todo = {f"m{index}": DeviceFile(sha256="0", path=tmp_path / "model") for index in range(2 * MODELS_PER_BATCH)}
    assert list(first_batch(todo)) == list(todo)[:MODELS_PER_BATCH]
    monkeypatch.setattr("profiler_agent.session.BATCH_BYTES", 25)
    assert list(first_batch(todo)) == ["m0", "m1"]
    monkeypatch.setattr("profiler_agent.session.BATCH_BYTES", 5)
    assert list(first_batch(todo)) == ["m0"]
