"""The benchmark_model runner: its parser on real recorded text, and the whole way through a binary that prints it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.device import BenchmarkModelRunner, RuntimeOptions
from profiler_agent.errors import AgentOutputError, ConfigError, ModelsFailed
from profiler_agent.runners.benchmark_text import parse_benchmark, parse_op_profile
from profiler_agent.session import open_session

RECORDED = Path(__file__).parent / "recorded"
# From public logs of the tool: 2021 (Android, no prefix), 2022 (x86, scientific notation), 2025 (aarch64, percentiles).
ANDROID_2021 = (RECORDED / "benchmark_android_2021.txt").read_text()
X86_2022 = (RECORDED / "benchmark_x86_2022.txt").read_text()
AARCH64_2025 = (RECORDED / "benchmark_aarch64_2025.txt").read_text()
OP_PROFILE = (RECORDED / "benchmark_op_profile.txt").read_text()


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
    with pytest.raises(AgentOutputError, match="GPU delegate took none"):
        parse_benchmark(line + AARCH64_2025)


def test_the_op_profile_of_the_steady_state_is_read():
    ops = parse_op_profile(OP_PROFILE)
    assert [(op.kind, op.average_ms) for op in ops] == [("CONV_2D", 4.269), ("DEPTHWISE_CONV_2D", 2.150)]
    assert ops[0].name == "MobilenetV1/Conv2d_0/Relu6"


@pytest.mark.parametrize("text", ["", OP_PROFILE.replace("4.269\t    4.269", "a lot")])
def test_an_op_profile_that_is_not_understood_is_an_error(text):
    with pytest.raises(AgentOutputError):
        parse_op_profile(text)


# ---- the whole way -----------------------------------------------------------------------------------------------

BINARY = r"""#!/bin/sh
delegate="Created TensorFlow Lite XNNPACK delegate for CPU."
for flag in "$@"; do
    case $flag in
    --help) echo "usage: --graph=FILE" && exit 1 ;;
    --graph=*) read -r order <"${flag#--graph=}" ;;
    --use_gpu=true) delegate="Explicitly applied GPU delegate, and the model graph will be completely executed." ;;
    esac
done
case $order in
crash) kill -SEGV $$ ;;
refuses) delegate="Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate." ;;
odd) echo "count=lots" && exit 0 ;;
esac
echo "INFO: $delegate"
echo "INFO: count=5 first=30 curr=21 min=20 max=30 avg=22.5 std=4 p5=20 median=21 p95=30"
echo
echo "INFO: count=221 first=21 curr=20 min=19 max=25 avg=20.4 std=1 p5=20 median=20 p95=22"
echo
echo "INFO: Inference timings in us: Init: 900, First inference: 30, Warmup (avg): 22.5, Inference (avg): 20.4"
"""


@pytest.fixture
def phone(local_device, tmp_path):
    """This machine as a device of the benchmark_model runner, with a binary that prints what the real one prints."""
    binary = tmp_path / "benchmark_model"
    binary.write_text(BINARY)
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


def test_the_gpu_delegate_is_asked_for_and_its_work_is_checked(phone, models):
    device = replace(phone, runtime=RuntimeOptions(name="litert", accelerator="gpu"))
    files = models("ok")
    with open_session(device) as session:
        list(session.time_models(files, canary=files[0]))
        assert session.ran_on == "GPU"
    with pytest.raises(AgentOutputError, match="took none of the model"), open_session(device) as session:
        list(session.time_models(models("refuses"), canary=files[0]))


def test_a_model_that_crashes_the_binary_is_named(phone, models):
    files = models("ok", "crash")
    timings = []
    with open_session(phone) as session, pytest.raises(ModelsFailed, match="exit code 1"):
        for timing in session.time_models(files, canary=files[0]):
            timings.append(timing)
    assert len(timings) == 1


def test_output_that_is_not_understood_stops_the_run(phone, models):
    with pytest.raises(AgentOutputError, match="count="), open_session(phone) as session:
        list(session.time_models(models("odd"), canary=models("ok")[0]))


def test_another_binary_than_the_named_one_is_refused(phone):
    Path(phone.runner.binary).write_text(BINARY + "# changed\n")
    with pytest.raises(ConfigError, match="write its hash there"), open_session(phone):
        pass


def test_the_gpu_of_a_phone_needs_this_runner(local_device):
    with pytest.raises(ConfigError, match=r"needs runner\.kind benchmark_model"):
        replace(local_device, runtime=RuntimeOptions(name="litert", accelerator="gpu"))
