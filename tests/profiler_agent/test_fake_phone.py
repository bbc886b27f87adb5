"""The real adb client and the real adbd (Debian trixie) in a network namespace, with an Android-like userland."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOP = HERE.parents[1]
BUILT = TOP / "build" / "profiler_tests"


def run_beside_phone(kind: str, machine: str) -> dict:
    """Everything that ``phone_host.py`` reports, or a skip with the reason."""
    root = BUILT / "phone" / "root"
    native = BUILT / f"native-{machine}"
    for path, what in ((root.parent / "ready", "the fake phone"), (native / "runner.json", f"the {machine} runner")):
        if not path.exists():
            pytest.skip(f"{what} is not built; tests/profiler_agent/setup_system.sh builds it and says why it cannot")
    if os.getuid() != 0:
        pytest.skip("namespaces with a chroot need root")
    needed = ["adb", "unshare", "ip", *(["qemu-aarch64-static"] if kind == "arm64" else [])]
    if missing := [name for name in needed if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]:
        pytest.skip(f"{', '.join(missing)} is not installed; tests/profiler_agent/setup_system.sh installs it")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root make a network namespace")
    done = subprocess.run(
        ["sh", HERE / "phone_start.sh", kind, root, sys.executable, HERE / "phone_host.py", native],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        cwd=TOP,
        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def phone():
    return run_beside_phone("x86_64", "x86_64")


@pytest.fixture(scope="module")
def arm64_phone():
    return run_beside_phone("arm64", "aarch64")


def test_we_are_the_shell_user_of_a_phone(phone):
    assert phone["id"].startswith("uid=2000")
    assert phone["facts"]["ro.product.model"] == "Fake Phone"
    assert phone["facts"]["ro.build.version.sdk"] == "34"
    assert "ro.serialno" not in phone["facts"]


def test_models_are_timed_on_the_phone_without_python(phone):
    assert set(phone["latency_ms"]) == {"check", "canary"}
    assert 0.0005 < phone["latency_ms"]["canary"] < phone["latency_ms"]["check"] < 5


def test_clocks_are_fixed_while_models_are_timed_and_let_go_afterwards(phone):
    mode = "power set-fixed-performance-mode-enabled"
    assert phone["fixed"]["calls"] == [f"{mode} true", f"{mode} false"]
    facts, state = phone["fixed"]["facts"], phone["fixed"]["state"]
    assert (facts["fixed_performance"], facts["fixed_performance_rc"]) == ("on", 0)
    assert facts["max_frequencies_khz"] == [1_400_000]
    assert facts["found_limits_khz"] == [[300_000], [2_400_000]]
    assert (state["fixed_performance"], state["max_frequencies_khz"]) == (None, [2_400_000])


def test_battery_cooling_and_governor_of_the_phone_are_among_the_facts(phone):
    facts = phone["fixed"]["facts"]
    assert (facts["battery_percent"], facts["battery_status"]) == (64, "charging")
    assert (facts["cooling_types"], facts["cooling_states"]) == (["thermal-cpufreq-0"], [1])
    assert facts["governors"] == ["schedutil"]
    assert facts["own_ticks"] > 0


def test_models_that_benchmark_model_cannot_run_are_named_with_the_cause(phone):
    assert phone["benchmark_model"]["timed"] == ["ok"]
    failures = phone["benchmark_model"]["failures"]
    assert "signal 11" in failures["crash"]
    assert "ERROR: Failed to load the model: op version 12 is unknown" in failures["fails"]
    assert failures["hangs"] == "it did not end within its time limit"


def test_a_pulled_cable_and_a_restarted_adb_server_are_survived(phone):
    assert set(phone["disturbed"]) == {"check", "canary"}


def test_deploying_is_quick_the_first_time_and_quicker_from_then_on(phone):
    assert phone["cold_s"] <= 2.0 * patience()
    assert phone["warm_s"] <= 0.5 * patience()
    assert phone["warm_s"] < phone["cold_s"]


def patience() -> float:
    """The limits hold for a machine that is idle; a crowded one gets the time that it shares."""
    return 1.0 + os.getloadavg()[0]


def test_a_read_only_folder_is_refused_with_the_mend(phone):
    assert "another one under 'directory'" in phone["read_only"]


def test_clean_leaves_nothing_on_the_phone(phone):
    assert phone["cleaned"] == "/data/local/tmp/proxyless"
    assert phone["left"] == []


def test_the_native_runner_runs_on_arm64(arm64_phone):
    assert set(arm64_phone["latency_ms"]) == {"check", "canary"}  # under qemu: that it runs, not how fast
    assert arm64_phone["facts"]["runner"] == "native aarch64"
    assert arm64_phone["left"] == []
