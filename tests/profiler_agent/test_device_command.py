"""`proxyless device`: what a person sees."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from profiler_agent.attached import attached_devices
from profiler_agent.cli import device_app

CONFIGS = Path(__file__).parents[2] / "device_configs"


@pytest.fixture
def device_file(tmp_path):
    text = (CONFIGS / "local_cpu_litert.yaml").read_text().replace("wait_limit_s: 300", "wait_limit_s: 30")
    path = tmp_path / "device.yaml"
    path.write_text(text + f"directory: {tmp_path}/device/proxyless\n")
    return path


def run(*words) -> str:
    result = CliRunner().invoke(device_app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_check_prints_facts_runtime_noise_and_a_verdict(device_file):
    output = run("check", device_file)
    for word in ("fingerprint", "litert", "XNNPACK", "latency", "spread between sessions", "verdict"):
        assert word in output


def test_check_as_json_is_one_object(device_file):
    report = json.loads(run("check", device_file, "--json"))
    assert report["schema"] == 1
    assert set(report["latency_ms"]) == {"check", "canary"}
    assert report["seconds"] < 20 * 3  # twenty on an idle machine


def test_clean_says_what_it_removed(device_file, tmp_path):
    run("check", device_file)
    assert f"{tmp_path}/device/proxyless" in run("clean", device_file)
    assert not (tmp_path / "device" / "proxyless").exists()


@pytest.mark.parametrize(("words", "is_forced"), [([], False), (["--force"], True)])
def test_clean_takes_a_device_from_another_host_only_by_force(monkeypatch, device_file, words, is_forced):
    asked = []
    monkeypatch.setattr("profiler_agent.cleaning.clean_device", lambda _, even_if_held: asked.append(even_if_held))
    run("clean", device_file, *words)
    assert asked == [is_forced]


def test_list_shows_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ADB", raising=False)
    output = run("list")
    assert "local  ready" in output
    assert "apt install adb" in output


def test_list_shows_each_phones_state_with_its_mend(monkeypatch, tmp_path):
    adb = tmp_path / "adb"
    adb.write_text(
        "#!/bin/sh\nprintf 'List of devices attached\\nAAA\\tdevice\\nBBB\\tunauthorized\\nCCC\\toffline\\n"
        "DDD\\tno permissions (user in plugdev group); see [http://developer.android.com]\\n\\n'\n"
    )
    adb.chmod(0o755)
    monkeypatch.setenv("ADB", str(adb))
    states = {device.address: device for device in attached_devices()}
    assert states["AAA"].state == "ready"
    assert "transport.serial" in states["AAA"].mend
    assert "Allow USB debugging" in states["BBB"].mend
    assert "plug it in again" in states["CCC"].mend
    assert "udev" in states["DDD"].mend
    assert "unauthorized" in run("list")
    assert len(json.loads(run("list", "--json"))["devices"]) == 5


def test_help_shows_an_example():
    assert "device_configs/" in run("check", "--help")
