"""What each op of a model takes: text recorded from three ages of the tool, and the whole way through a fake binary."""

import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from profiler_agent.cli import device_app
from profiler_agent.device import BenchmarkModelRunner, RuntimeOptions
from profiler_agent.errors import AgentOutputError, ConfigError, ModelsFailed
from profiler_agent.runners.op_profile_text import parse_op_profile
from profiler_agent.session import open_session

RECORDED = Path(__file__).parent / "recorded"
# From public logs of the tool: one with a column [start]; XNNPACK's ops; LiteRT's own tool, which prints one table.
OLD, XNNPACK, LITERT = (
    (RECORDED / f"benchmark_op_profile{suffix}.txt").read_text() for suffix in ("", "_xnnpack", "_litert")
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (OLD, [("CONV_2D", 4.269), ("DEPTHWISE_CONV_2D", 2.150)]),
        (
            XNNPACK,
            [
                ("Convolution (NHWC, QU8) IGEMM", 0.278),
                ("Convolution (NHWC, QU8) DWConv", 0.271),
                ("Add (ND, QU8)", 0.051),
                ("Convolution (NHWC, QU8) DWConv", 0.0),
            ],
        ),
        (
            LITERT,
            [
                ("LiteRT::Run[buffer registration]", 0.014),
                ("AllocateTensors", 0.291),
                ("Static Reshape (NC)", 0.003),
                ("Fully Connected (NC, PF32) GEMM", 0.382),
                ("LiteRT::Run[Buffer sync]", 0.012),
            ],
        ),
    ],
)
def test_the_steady_state_of_every_age_of_the_tool_is_read(text, rows):
    assert [(op.kind, op.average_ms) for op in parse_op_profile(text)] == rows


def test_names_are_those_of_tensors_or_of_the_delegates_ops():
    assert [op.name for op in parse_op_profile(OLD)] == ["MobilenetV1/Conv2d_0/Relu6", "MobilenetV1/Conv2d_1/Relu6"]
    assert parse_op_profile(XNNPACK)[0].name == "Delegate/Convolution (NHWC, QU8) IGEMM"
    assert parse_op_profile(XNNPACK)[0].share == pytest.approx(0.03783)


def test_the_tables_of_subgraphs_and_delegates_that_follow_are_left_out():
    assert parse_op_profile(XNNPACK + XNNPACK.partition("\n")[2].partition("INFO")[0]) == parse_op_profile(XNNPACK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        XNNPACK.replace("    0.278", "    a lot"),
        XNNPACK.replace("    0.278", "      nan"),
        XNNPACK.replace("    0.278\t", ""),
        XNNPACK.replace("\t", "  "),
        XNNPACK.replace("[avg ms]", "[avg us]"),
        XNNPACK[: XNNPACK.index("\t       Convolution")],
    ],
)
def test_a_profile_that_is_not_understood_is_an_error(text):
    with pytest.raises(AgentOutputError):
        parse_op_profile(text)


def test_control_characters_in_names_are_not_shown():
    assert parse_op_profile(XNNPACK.replace("IGEMM:0", "\x1b]0;owned\x07:0"))[0].name.endswith("?]0;owned?")


BINARY = f"""#!/bin/sh
case "$*" in
*--help*) echo "usage: --graph=FILE" && exit 1 ;;
*--enable_op_profiling=true*) cat {shlex.quote(str(RECORDED / "benchmark_op_profile_xnnpack.txt"))} ;;
esac
case "$*" in *--graph=*) read -r order <"${{1#--graph=}}" ;; esac
[ "$order" = ok ] || {{ echo "ERROR: no such op" && exit 1; }}
"""


@pytest.fixture
def phone(local_device, tmp_path):
    binary = tmp_path / "benchmark_model"
    binary.write_text(BINARY)
    sha256 = hashlib.sha256(BINARY.encode()).hexdigest()
    runner = BenchmarkModelRunner(kind="benchmark_model", binary=binary, sha256=sha256)
    return replace(local_device, runner=runner, runtime=RuntimeOptions(name="litert"))


def test_a_session_profiles_a_model_and_leaves_nothing_behind(phone, models):
    with open_session(phone) as session:
        assert session.profile_ops(models("ok")[0].path) == parse_op_profile(XNNPACK)
    assert {path.name for path in Path(phone.directory).iterdir()} == {"cache", "made_above"}


def test_a_model_that_the_binary_refuses_is_named_with_its_words(phone, models):
    with pytest.raises(ModelsFailed, match=r"(?s)m0: .*no such op"), open_session(phone) as session:
        session.profile_ops(models("bad")[0].path)


def test_a_runner_that_tells_nothing_of_ops_is_said(local_device, models):
    with pytest.raises(ConfigError, match=r"Only runner\.kind benchmark_model"), open_session(local_device) as session:
        session.profile_ops(models("ok")[0].path)


def test_device_check_with_ops_prints_a_line_per_op(phone, models, tmp_path):
    words = {"binary": str(phone.runner.binary), "sha256": phone.runner.sha256, "kind": "benchmark_model"}
    data = {"schema": 1, "name": "p", "transport": {"kind": "local"}, "runtime": {"name": "litert"}, "runner": words}
    file = tmp_path / "device.yaml"
    file.write_text(json.dumps(data | {"directory": phone.directory}))
    arguments = ["check", str(file), "--ops", str(models("ok")[0].path)]
    lines = CliRunner().invoke(device_app, arguments, catch_exceptions=False).output.splitlines()
    assert lines[0].split()[:3] == ["0.278", "ms", "3.8%"]
    assert len(lines) == 5
    report = json.loads(CliRunner().invoke(device_app, [*arguments, "--json"], catch_exceptions=False).output)
    assert [op["kind"] for op in report["ops"]][2] == "Add (ND, QU8)"
