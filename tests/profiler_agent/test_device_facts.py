"""Battery, cooling devices and governors among the facts: recorded where a device tells them, null where not."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.agent_facts import are_facts
from profiler_agent.bundle import AGENT_SCRIPT
from profiler_agent.device import Guard
from profiler_agent.errors import ConfigError, DeviceBatteryLow
from profiler_agent.journal import MAX_LINE_BYTES
from profiler_agent.readiness import complaint, wait_until_ready


@pytest.fixture
def system(tmp_path):
    """A /sys of its own, and programs before all others on the path."""
    for folder in ("bin", "sys/class/power_supply", "sys/class/thermal", "sys/devices/system/cpu/cpufreq"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "agent.sh").write_text(AGENT_SCRIPT.read_text().replace(" /sys/", f" {tmp_path}/sys/"))
    return tmp_path


def fill(folder: Path, **values: str) -> None:
    folder.mkdir()
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")


def program(system: Path, name: str, script: str) -> None:
    (system / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (system / "bin" / name).chmod(0o755)


def facts_of(system: Path, shell=("sh",)) -> dict:
    environment = {**os.environ, "PATH": f"{system}/bin:{os.environ['PATH']}"}
    argv = [*shell, system / "agent.sh", "facts", system]
    told = json.loads(subprocess.run(argv, capture_output=True, check=True, env=environment, timeout=30).stdout)
    assert are_facts(told)
    return told


def test_everything_is_null_or_empty_on_a_device_that_tells_nothing(system, shell):
    told = facts_of(system, shell)
    assert (told["battery_percent"], told["battery_status"]) == (None, None)
    assert (told["cooling_types"], told["cooling_states"], told["governors"]) == ([], [], [])


def test_the_facts_of_a_server_with_a_thousand_cores_fit_into_a_journals_line(system, shell):
    for core in range(1000):
        cluster = system / f"sys/devices/system/cpu/cpufreq/policy{core}"
        limits = dict.fromkeys(("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq"), "3700000")
        fill(cluster, related_cpus=str(core), scaling_governor="performance", **limits)
        fill(system / f"sys/class/thermal/cooling_device{core}", type="Processor", cur_state="0")
    told = facts_of(system, shell)
    assert len({len(told[name]) for name in ("cluster_cores", "frequencies_khz", "governors", "cooling_types")}) == 1
    readings = [told["frequencies_khz"]] * 3
    assert len(json.dumps([told, told, readings], separators=(",", ":"))) < MAX_LINE_BYTES - 1000


@pytest.mark.parametrize(
    ("status", "word"),
    [("Charging", "charging"), ("Discharging", "discharging"), ("Not charging", "not_charging"), ("Full", "full")],
)
def test_the_battery_that_powers_the_device_is_read_from_the_system(system, shell, status, word):
    fill(system / "sys/class/power_supply/AC", type="Mains", online="1")
    fill(system / "sys/class/power_supply/a_mouse", type="Battery", scope="Device", capacity="3", status="Discharging")
    fill(system / "sys/class/power_supply/b_battery", type="Battery", capacity="87", status=status)
    told = facts_of(system, shell)
    assert (told["battery_percent"], told["battery_status"]) == (87, word)


DUMPSYS = """case $1 in
thermalservice) echo "Thermal Status: 1" ;;
battery) cat <<'END' ;;
Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 4
  health: 2
  present: true
  level: 43
  scale: 50
  voltage: 4012
  temperature: 291
END
esac"""


def test_a_phone_is_asked_with_its_own_tool(system, shell):
    program(system, "dumpsys", DUMPSYS)
    told = facts_of(system, shell)
    assert (told["battery_percent"], told["battery_status"], told["thermal_status"]) == (86, "not_charging", 1)


@pytest.mark.parametrize(
    "answer", ["echo Permission denied >&2; exit 1", "echo '  level: x; rm -rf'", "echo '  scale: 0'", "sleep 60"]
)
def test_a_tool_that_refuses_or_talks_nonsense_or_hangs_makes_null(system, answer):
    program(system, "dumpsys", answer)
    (system / "agent.sh").write_text((system / "agent.sh").read_text().replace("'timeout 10'", "'timeout 1'"))
    told = facts_of(system)
    assert (told["battery_percent"], told["battery_status"], told["thermal_status"]) == (None, None, None)


def test_cooling_devices_and_governors_are_read_each_in_its_place(system, shell):
    fill(system / "sys/class/thermal/cooling_device0", type="thermal-cpufreq-0", cur_state="2", max_state="9")
    fill(system / "sys/class/thermal/cooling_device1", type="pwm fan", cur_state="0")
    fill(system / "sys/class/thermal/cooling_device2", type="Processor")
    fill(system / "sys/class/thermal/cooling_device3", type='a"],"x":["b', cur_state="1e9")
    fill(system / "sys/devices/system/cpu/cpufreq/policy0", scaling_governor="schedutil")
    fill(system / "sys/devices/system/cpu/cpufreq/policy4")
    told = facts_of(system, shell)
    assert told["cooling_types"] == ["thermal-cpufreq-0", None, "Processor", None]
    assert told["cooling_states"] == [2, 0, None, None]
    assert told["governors"] == ["schedutil", None]


def test_a_server_with_a_cluster_for_each_of_its_cores_is_understood(system):
    for core in range(256):
        fill(
            system / f"sys/devices/system/cpu/cpufreq/policy{core}",
            related_cpus=str(core),
            scaling_governor="performance",
            scaling_cur_freq="2000000",
        )
    assert facts_of(system)["governors"] == ["performance"] * 256


# ---- the guard ---------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(local_device):
    return replace(local_device, guard=replace(local_device.guard, min_battery_percent=20.0))


def test_a_battery_that_runs_down_is_refused_with_the_mend(guarded):
    low = {"battery_percent": 12, "battery_status": "discharging"}
    found = complaint(guarded, low)
    assert isinstance(found, DeviceBatteryLow)
    assert "has 12 % of its battery left" in str(found)
    assert "guard.min_battery_percent" in str(found)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"battery_percent": None, "battery_status": None},
        {"battery_percent": 12, "battery_status": "charging"},
        {"battery_percent": 20, "battery_status": "discharging"},
    ],
)
def test_a_battery_that_charges_or_is_full_enough_or_unknown_speaks_against_nothing(guarded, facts):
    assert complaint(guarded, facts) is None


def test_without_a_guard_no_battery_speaks_against_a_run(local_device):
    assert complaint(local_device, {"battery_percent": 1, "battery_status": "discharging"}) is None


def test_a_charger_that_is_plugged_in_meanwhile_lets_the_run_begin(guarded):
    readings = iter([{"battery_percent": 12, "battery_status": word} for word in ("discharging", "charging")])
    wait_until_ready(guarded, lambda: next(readings), sleep=lambda _: None)


@pytest.mark.parametrize("percent", [0.0, 101.0, float("nan")])
def test_a_limit_that_no_battery_has_is_refused(percent):
    with pytest.raises(ConfigError, match="min_battery_percent"):
        Guard(min_battery_percent=percent)
