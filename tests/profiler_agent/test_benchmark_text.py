"""What benchmark_model prints: real recorded text of every age is understood, and everything else is an error."""

import re
from pathlib import Path

import pytest

from profiler_agent.errors import AgentOutputError
from profiler_agent.runners.benchmark_text import ModelRefused, parse_benchmark

RECORDED = Path(__file__).parent / "recorded"
# From public logs of the tool: 2019 (its first summary), 2021 (Android, no prefix), 2022 (x86, scientific notation),
# 2025 (aarch64, percentiles), and of LiteRT's tool of the same name, 2025.
ORIGINAL_2019 = (RECORDED / "benchmark_2019.txt").read_text()
ANDROID_2021 = (RECORDED / "benchmark_android_2021.txt").read_text()
X86_2022 = (RECORDED / "benchmark_x86_2022.txt").read_text()
AARCH64_2025 = (RECORDED / "benchmark_aarch64_2025.txt").read_text()
LITERT_2025 = (RECORDED / "benchmark_litert_x86_2025.txt").read_text()


@pytest.mark.parametrize(
    ("text", "average_ms", "run_count", "ran_on"),
    [
        (ORIGINAL_2019, 747.733, 50, "built-in kernels"),
        (ANDROID_2021, 74.4816, 50, "XNNPACK (partially)"),
        (X86_2022, 2950.34, 50, "built-in kernels"),
        (AARCH64_2025, 42.4354, 24, "XNNPACK"),
        (LITERT_2025, 0.947132, 1054, "XNNPACK"),
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


def test_a_count_that_no_tool_prints_is_an_error():
    with pytest.raises(AgentOutputError, match="count="):
        parse_benchmark(re.sub("count=[0-9]+", "count=" + "9" * 5000, X86_2022))


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


@pytest.mark.parametrize("rest", ["(all same)", "(all same) p5=1310 median=1310 p95=1310", " (all same)"])
def test_runs_that_took_the_same_are_read_as_the_tool_writes_them(rest):
    warm_up = "count=1 curr=9000\n"
    result = parse_benchmark(warm_up + counted(f"count=3 curr=1310{rest}", "1310"))
    assert (result.average_ms, result.run_count) == (1.31, 3)


def test_the_warm_ups_statistics_never_stand_in_for_others_that_are_not_understood():
    with pytest.raises(AgentOutputError, match="1 lines of statistics"):
        parse_benchmark("count=1 curr=1310\n" + counted("count=3 curr=1310 (as before)", "1310"))


def test_a_mean_that_is_not_the_one_of_the_summary_is_an_error():
    with pytest.raises(AgentOutputError, match="do not fit"):
        parse_benchmark(counted("count=2500 first=1 curr=0 min=0 max=2 avg=0.4 std=0", "0.9"))


def test_what_is_shown_of_text_that_is_not_understood_is_printable():
    with pytest.raises(AgentOutputError) as caught:
        parse_benchmark("\x1b]0;owned\x07")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("avg=947.132", "avg=956.132"),  # 0.95 in its summary
        lambda text: text.replace("(1054 runs)", "(1055 runs)"),
        lambda text: text.replace("0.95 ms (1054 runs)", "0.95 ms"),
        lambda text: text.replace("Model initialization: 5.76", "Model initialization: soon"),
        lambda text: text.replace("] Inference (avg):      0.95", "] Inference (avg):      9.5"),
        lambda text: text.replace("INFO: count=1054", "INFO: counted=1054").replace("INFO: count=526", "526"),
        lambda text: text + text[text.index("INFO: [./litert/tools/benchmark_litert_model.h:79]") :],
    ],
)
def test_a_summary_of_litert_that_is_incomplete_or_does_not_fit_is_an_error(damage):
    assert damage(LITERT_2025) != LITERT_2025
    with pytest.raises(AgentOutputError):
        parse_benchmark(damage(LITERT_2025))


def test_a_summary_that_is_not_known_is_shown():
    text = AARCH64_2025.replace("Inference timings in us:", "Mean latency of inference (us):")
    with pytest.raises(AgentOutputError, match=r"0 summaries that we know[\s\S]*Mean latency of inference"):
        parse_benchmark(text)


def test_a_tool_that_left_out_a_flag_gives_no_latency():
    text = "INFO: STARTING!\nWARN: Unconsumed cmdline flags: --warmup_min_secs=0 \x1b[1m\n" + AARCH64_2025
    with pytest.raises(AgentOutputError, match=r"does not know --warmup_min_secs=0 \?\[1m and left it out"):
        parse_benchmark(text)


def test_where_litert_ran_a_model_is_known_of_the_processor_only():
    assert not parse_benchmark(LITERT_2025).is_placed
    assert parse_benchmark(AARCH64_2025).is_placed
