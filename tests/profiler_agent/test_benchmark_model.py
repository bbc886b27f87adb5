"""The benchmark_model runner: the whole way through a binary that prints what the real one does."""

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
from profiler_agent.session import open_session

RECORDED = Path(__file__).parent / "recorded"
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
    assert time.monotonic() - started_s < 60  # each hang would else last the job's limit of 72 s or more
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


def test_the_plans_rest_lies_between_two_invocations(phone, models):
    plan = replace(phone.plan, round_count=2, session_count=1, max_sessions=1)
    files = models("ok")
    took_s = []
    for rest_ms in (0.0, 2000.0):
        with open_session(phone) as session:
            started_s = time.monotonic()
            list(session.time_models(files, canary=files[0], plan=replace(plan, rest_ms=rest_ms)))
            took_s.append(time.monotonic() - started_s)
    assert took_s[1] - took_s[0] > 4  # four invocations


def test_the_gpu_is_not_believed_to_have_run_what_litert_does_not_place(gpu, models, tmp_path):
    text = (RECORDED / "benchmark_litert_x86_2025.txt").read_text()
    script = BINARY.replace('echo "INFO: $delegate"\n', f"cat <<'END'\n{text}END\nexit 0\n")
    gpu.runner.binary.write_text(script)
    device = replace(gpu, runner=replace(gpu.runner, sha256=hashlib.sha256(script.encode()).hexdigest()))
    files = models("ok")
    with pytest.raises(AgentFailed, match="does not say whether the GPU ran all of a model"):
        time_all(device, files, files[0])
