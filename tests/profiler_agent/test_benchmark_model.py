"""The benchmark_model runner: its parser on real recorded text, and the whole way through a binary that prints it."""

import hashlib
import re
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from profiler_agent.device import BenchmarkModelRunner, RuntimeOptions
from profiler_agent.errors import AgentFailed, AgentOutputError, ConfigError, ModelsFailed
from profiler_agent.runner import Batch
from profiler_agent.runners.benchmark_model import BenchmarkModelHostRunner
from profiler_agent.runners.benchmark_text import ModelRefused, parse_benchmark
from profiler_agent.session import open_session

RECORDED = Path(__file__).parent / "recorded"
# From public logs of the tool: 2021 (Android, no prefix), 2022 (x86, scientific notation), 2025 (aarch64, percentiles).
ANDROID_2021 = (RECORDED / "benchmark_android_2021.txt").read_text()
X86_2022 = (RECORDED / "benchmark_x86_2022.txt").read_text()
AARCH64_2025 = (RECORDED / "benchmark_aarch64_2025.txt").read_text()


@pytest.mark.parametrize(
    ("text", "average_ms", "run_count", "ran_on"),
    [
        (ANDROID_2021, 74.4816, 50, "XNNPACK (partially)"),
        (X86_2022, 2950.34, 50, "built-in kernels"),
        (AARCH64_2025, 42.4354, 24, "XNNPACK"),
    ],
)
def test_real_output_of_every_age_is_understood(text, average_ms, run_count, ran_on):
    result = parse_benchmark(text)
    assert result.average_ms == pytest.approx(average_ms)
    assert result.run_count == run_count
    assert result.ran_on == ran_on
    assert result.min_ms <= result.average_ms <= result.max_ms


def test_one_run_is_its_own_average():
    summary = "Inference timings in us: Init: 10, First inference: 9, Warmup (avg): 9, Inference (avg): 812\n"
    text = "count=1 curr=812\n\n" + summary
    assert parse_benchmark(text).average_ms == 0.812


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.replace("count=50 first", "count=50 frist"),
        lambda text: text.replace("avg=74481.6", "avg=nan"),
        lambda text: text.replace("Inference (avg): 74481.6", "Inference (avg): 99.0"),
        lambda text: text.replace("Inference timings in us", "Average timings"),
        lambda text: text + text,
        lambda text: text.replace("74481.6", "-74481.6"),
        lambda text: text[: text.index("Inference timings")],
    ],
)
def test_text_that_is_not_understood_is_an_error(damage):
    with pytest.raises(AgentOutputError):
        parse_benchmark(damage(ANDROID_2021).replace("count=6 first=140706 curr=74599", "count=6 curr=1 (old)"))


def test_a_delegate_that_took_nothing_is_an_error():
    line = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
    with pytest.raises(ModelRefused, match="GPU delegate took none"):
        parse_benchmark(line + AARCH64_2025)


def counted(line: str, average_us: str) -> str:
    """The output of a run whose statistics are ``line``."""
    summary = f"Init: 10, First inference: 1, Warmup (avg): 1, Inference (avg): {average_us}"
    return f"{line}\n\nInference timings in us: {summary}\n"


def test_runs_below_a_microsecond_have_a_mean():
    text = counted("count=2500 first=1 curr=0 min=0 max=2 avg=0.4 std=0", "0.4")
    assert parse_benchmark(text).average_ms == pytest.approx(0.0004)


@pytest.mark.parametrize("line", ["count=9 first=0 curr=0 min=0 max=0 avg=0 std=0", "count=9 curr=0 (all same)"])
def test_a_model_that_took_no_whole_microsecond_once_has_no_latency(line):
    with pytest.raises(ModelRefused, match="took less than one"):
        parse_benchmark(counted(line, "0"))


def test_a_mean_that_is_not_the_one_of_the_summary_is_an_error():
    with pytest.raises(AgentOutputError, match="do not fit"):
        parse_benchmark(counted("count=2500 first=1 curr=0 min=0 max=2 avg=0.4 std=0", "0.9"))


def test_what_is_shown_of_text_that_is_not_understood_is_printable():
    with pytest.raises(AgentOutputError) as caught:
        parse_benchmark("\x1b]0;owned\x07")
    assert "\x1b" not in str(caught.value)


# ---- the whole way -----------------------------------------------------------------------------------------------

BINARY = (Path(__file__).parent / "fake_benchmark_model.sh").read_text()


@pytest.fixture
def phone(local_device, tmp_path):
    """This machine as a device of the benchmark_model runner, with a binary that prints what the real one prints."""
    binary = tmp_path / "benchmark_model"
    binary.write_text(BINARY)
    binary.chmod(0o755)
    runner = BenchmarkModelRunner(
        kind="benchmark_model", binary=binary, sha256=hashlib.sha256(BINARY.encode()).hexdigest()
    )
    return replace(local_device, runner=runner, runtime=RuntimeOptions(name="litert"))


def test_models_are_timed_round_by_round(phone, models):
    files = models("ok", "ok")
    with open_session(phone) as session:
        timings = list(session.time_models(files, canary=files[0]))
        assert session.facts.runtime_version.startswith("benchmark_model ")
        assert session.ran_on == "XNNPACK"
    for timing in timings:
        assert timing.sessions[0].samples_ms == pytest.approx((0.0204,) * 4)
    assert timings[0].sessions[0].runs_per_burst == 221
    assert timings[0].sessions[0].involuntary_switches == (None,) * 4


@pytest.fixture
def gpu(phone):
    return replace(phone, runtime=RuntimeOptions(name="litert", accelerator="gpu"))


def time_all(device, files, canary):
    """What was timed, and the failures."""
    timed = []
    with open_session(device) as session:
        try:
            for timing in session.time_models(files, canary=canary):
                timed.append(timing.model_id)
        except ModelsFailed as error:
            return timed, error.failures
    return timed, {}


def test_the_gpu_delegate_is_asked_for(gpu, models):
    files = models("ok")
    with open_session(gpu) as session:
        list(session.time_models(files, canary=files[0]))
        assert session.ran_on == "GPU"


@pytest.mark.parametrize(
    ("order", "reason"), [("refuses", "took none of the model"), ("partly", r"ran it on GPU \(part")]
)
def test_a_model_that_the_gpu_does_not_run_whole_fails_alone_and_by_its_name(gpu, models, order, reason):
    files = models("ok", order, "ok")
    timed, failures = time_all(gpu, files, canary=files[0])
    assert sorted(timed) == ["m0-ok", "m2-ok"]
    assert list(failures) == [f"m1-{order}"]
    assert re.search(reason, failures[f"m1-{order}"])


def test_a_canary_that_the_gpu_does_not_run_is_named_as_such(gpu, models):
    with pytest.raises(AgentFailed, match=r"The canary model .* took none of the model"):
        time_all(gpu, models("ok"), canary=models("refuses")[0])


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("crash", r"crashed \(signal 11\)"),
        ("oom", "ran out of memory"),
        ("fails", r"exit code 1: ERROR: Failed to load the model: op version 12 is unknown"),
    ],
)
def test_a_model_that_the_binary_cannot_run_is_named_with_the_cause(phone, models, order, reason):
    files = models("ok", order)
    timed, failures = time_all(phone, files, canary=files[0])
    assert timed == ["m0-ok"]
    assert list(failures) == [f"m1-{order}"]
    assert re.search(reason, failures[f"m1-{order}"])
    assert "STARTING" not in failures[f"m1-{order}"]


def is_running(command_line: bytes) -> bool:
    """Whether a process of that command line is left."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes() == command_line:
                return True
    return False


def test_a_model_that_hangs_costs_its_own_limit_and_not_the_jobs(phone, models):
    device = replace(phone, guard=replace(phone.guard, model_limit_s=1.0))
    files = models("ok", "hangs", "ok")
    started_s = time.monotonic()
    timed, failures = time_all(device, files, canary=files[0])
    assert timed == ["m0-ok", "m2-ok"]
    assert failures == {"m1-hangs": "it did not end within its time limit"}
    assert time.monotonic() - started_s < 15
    assert not is_running(b"sleep\x006174\x00")


@pytest.mark.parametrize("shell", ["dash", "mksh", "busybox sh"])
@pytest.mark.parametrize(("order", "code"), [("ok", 0), ("crash", 139), ("oom", 137), ("fails", 1), ("hangs", 137)])
def test_the_launcher_gives_the_binarys_own_exit_code_under_every_shell(phone, models, tmp_path, shell, order, code):
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"{shell.split()[0]} is not installed; tests/profiler_agent/setup_system.sh installs it")
    folder = tmp_path / "a folder"
    folder.mkdir()
    runner = BenchmarkModelHostRunner.build(phone)
    program = runner.launcher(SimpleNamespace(cached=lambda sha256: str(phone.runner.binary)))
    (model,) = models(order)
    paths = (str(model.path),)
    batch = Batch(model_paths=paths, model_ids=("m",), seed=0, plan=phone.plan, model_limit_s=1.0)
    (folder / "runner").write_text(program)
    (folder / "j.job").write_bytes(runner.job_content(batch))
    with (folder / "j.out").open("wb") as out:
        words = [*shell.split(), "./runner", "j"]
        done = subprocess.run(words, cwd=folder, stdout=out, stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.returncode == code
    assert (folder / "j.out").read_bytes().endswith(b"proxyless-runs-end\n") == (code == 0)
    assert (b"Timeout (1 s)" in done.stderr) == (order == "hangs")


@pytest.mark.parametrize("fixture", ["phone", "local_device"])
def test_a_mask_without_a_core_of_the_device_is_refused_before_the_first_model(request, fixture):
    device = request.getfixturevalue(fixture)
    far = "1" + "0" * 30  # core 120
    with (
        pytest.raises(ConfigError, match=r"does not take runtime.core_mask .*core\(s\)"),
        open_session(replace(device, runtime=replace(device.runtime, core_mask=far))),
    ):
        pass


def test_a_folder_with_odd_characters_in_its_name_is_no_obstacle(phone, models, tmp_path):
    device = replace(phone, directory=str(tmp_path / "it's my device" / "proxyless"))
    files = models("ok")
    assert time_all(device, files, canary=files[0]) == (["m0-ok"], {})


def test_output_that_is_not_understood_stops_the_run_and_names_the_model(phone, models):
    with pytest.raises(AgentOutputError, match=r"m0-odd, round 0: .*count="), open_session(phone) as session:
        list(session.time_models(models("odd"), canary=models("ok")[0]))


def test_another_binary_than_the_named_one_is_refused(phone):
    Path(phone.runner.binary).write_text(BINARY + "# changed\n")
    with pytest.raises(ConfigError, match="write its hash there"), open_session(phone):
        pass


def test_the_gpu_of_a_phone_needs_this_runner(local_device):
    with pytest.raises(ConfigError, match=r"needs runner\.kind benchmark_model"):
        replace(local_device, runtime=RuntimeOptions(name="litert", accelerator="gpu"))
