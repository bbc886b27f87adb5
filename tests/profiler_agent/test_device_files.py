"""Device files: strict, and helpful when they are wrong."""

from pathlib import Path

import pytest

from profiler_agent.check_models import check_model
from profiler_agent.device import Device, RuntimeOptions, TimingPlan, load_device
from profiler_agent.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "device_configs").glob("*.yaml"))
MINIMAL = "schema: 1\nname: d\ntransport: {kind: local}\nruntime: {name: litert}\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "device.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_device_file_reads(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROXYLESS_SSH_HOST", "board")
    device = load_device(path)
    assert device.name == path.stem
    assert device.source_file == path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_device_file_can_be_checked(path: Path):
    runtime = load_device(path).runtime.name
    assert all(check_model(name, runtime).is_file() for name in ("check", "canary"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_device_file_is_short_and_commented(path: Path):
    lines = path.read_text().splitlines()
    assert 15 <= len(lines) <= 25
    assert any("#" in line for line in lines)


def test_defaults_fill_what_a_minimal_file_leaves_out(tmp_path: Path):
    device = load_device(write(tmp_path, MINIMAL))
    assert device.plan == TimingPlan()
    assert device.runtime == RuntimeOptions(name="litert")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pln: {}", r"unknown key 'pln' \(did you mean 'plan'\?\)"),
        ("plan: {round_cont: 4}", r"unknown key 'plan.round_cont' \(did you mean 'round_count'\?\)"),
        ("guard: {min_free: 4}", r"did you mean 'min_free_mb'\?"),
        ("guard: {fixed_perf: true}", r"did you mean 'fixed_performance'\?"),
        ("guard: {fixed_performance: perhaps}", r"guard.fixed_performance: Input should be a valid boolean"),
        ("transport: {kind: lokal}", r"transport.kind is 'lokal' \(did you mean 'local'\?\)"),
        ("transport: local", r"transport.kind is 'local'"),
        ("runtime: {name: litert, threads: 2}", r"did you mean 'thread_count'\?"),
        ("runner: {kind: native}", "runner.folder: Field required"),
        ("schema: 2", "schema is 2; this version reads schema 1"),
    ],
)
def test_a_wrong_key_is_refused_with_the_nearest_spelling(tmp_path: Path, line: str, words: str):
    key = line.partition(":")[0]
    text = "".join(kept + "\n" for kept in MINIMAL.splitlines() if not kept.startswith(f"{key}:")) + line + "\n"
    with pytest.raises(ConfigError, match=words):
        load_device(write(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("runtime: {name: litert, thread_count: yes}", "runtime.thread_count was read as True; write a number"),
        ("runtime: {name: litert, thread_count: 0}", "thread_count is 0; it must be 1 or more"),
        ("runtime: {name: litert, core_mask: big}", "core_mask is 'big'"),
        ("runtime: {name: litert, core_mask: '1', thread_count: 2}", r"allows 1 core\(s\) for 2 thread\(s\)"),
        ("plan: {low_quantile: 0.9}", "low_quantile is 0.9"),
        ("plan: {max_sessions: 1}", "max_sessions is 1, below session_count 3"),
        ("plan: {burst_ms: .inf}", "burst_ms is inf"),
        ("guard: {wait_limit_s: .nan}", "wait_limit_s is nan"),
        ("guard: {min_free_mb: 1.0e+308}", "min_free_mb is 1e\\+308; it must be a number above 0, at most 1000000"),
        ("guard: {lease_s: 99999999999}", "lease_s is 99999999999; it must be a number above 0, at most 604800"),
        ("guard: {max_cpu_pressure_percent: 101}", "max_cpu_pressure_percent is 101"),
        ("guard: {max_start_temperature_c: -5}", "max_start_temperature_c is -5"),
        ("runtime: {name: litert, core_mask: 80}", "core_mask: 80 was read as a number; put it in quotes"),
        ("plan: {session_count: 2, session_count: 5}", "the key 'session_count' is given twice"),
        ("plan: {session_count: 2}\nplan: {session_count: 5}", "the key 'plan' is given twice"),
        ("directory: /tmp/../etc", "absolute path of its own without '..'"),
        ("directory: /tmp", "absolute path of its own"),
        ("name: a/b", "name is 'a/b'"),
        ("transport: {kind: adb, serial: 'a b; rm'}", "proxyless device list"),
        ("transport: {kind: ssh, host: h, port: 0}", "port is 0"),
        ("runner: {kind: benchmark_model, binary: here, sha256: aa}", "give an absolute path"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, line: str, words: str):
    key = line.partition(":")[0]
    text = "".join(kept + "\n" for kept in MINIMAL.splitlines() if not kept.startswith(f"{key}:")) + line + "\n"
    with pytest.raises(ConfigError, match=words):
        load_device(write(tmp_path, text))


def test_clocks_are_fixed_only_where_the_file_asks_for_it(tmp_path: Path):
    assert not load_device(write(tmp_path, MINIMAL)).guard.fixed_performance
    assert load_device(write(tmp_path, MINIMAL + "guard: {fixed_performance: true}\n")).guard.fixed_performance


def test_a_file_that_is_not_there_names_the_ready_ones(tmp_path: Path):
    with pytest.raises(ConfigError, match="device_configs/"):
        load_device(tmp_path / "missing.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "1: 2\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str):
    with pytest.raises(ConfigError):
        load_device(write(tmp_path, text))


def test_a_device_is_frozen(tmp_path: Path):
    device = load_device(write(tmp_path, MINIMAL))
    assert isinstance(device, Device)
    with pytest.raises(AttributeError):
        device.name = "other"  # type: ignore[misc]
