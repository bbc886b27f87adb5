"""Junk and hostile output of a device is an error in printable words, and nothing of it is used."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import PythonRunner
from profiler_agent.errors import AgentOutputError, LinkLost, RuntimeMissing
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.session import open_session
from profiler_agent.transport import CommandResult
from profiler_agent.transports.local import LocalTransport


@pytest.mark.parametrize("order", ["junk", "control", "nan", "negative", "float", "zero", "traversal", "oversized"])
def test_hostile_output_is_an_error_and_nothing_of_it_is_used(local_device, models, order):
    files = models("ok", order)
    seen = []
    with pytest.raises(AgentOutputError) as error, open_session(local_device) as session:
        for timing in session.time_models(files, canary=files[0]):
            seen.append(timing)
    assert seen == []
    assert all(char.isprintable() or char == "\n" for char in str(error.value))


class ToldFacts(LocalTransport):
    """The agent answers the question for its facts with these."""

    def __init__(self, facts: bytes) -> None:
        self.facts = facts

    def run(self, argv, timeout_s):
        result = super().run(argv, timeout_s)
        if " facts " not in argv[2]:
            return result
        begin, _, rest = result.stdout.partition(b"\n")
        end = rest.rpartition(b"\nproxyless-end-")[2]
        return replace(result, stdout=begin + b"\n" + self.facts + b"\nproxyless-end-" + end)


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"[]",
        b'{"temperature_mc":"hot"}',
        b'{"temperature_mc":[50000]}',
        b'{"cpu_pressure_percent":"99"}',
        b'{"cpu_ticks":[[1],2,3,4,5,6,7,8]}',
        b'{"thermal_status":true}',
        b'{"load_1min":1' + b"0" * 400 + b"}",
        b'{"\\u001b]0;owned\\u0007":1}',
        b'{"load\\nverdict   accepted":1}',
        b'{"fixed_performance":"\\u001b[31mred"}',
        b'{"found_limits_khz":' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_hostile_facts_are_an_error_in_printable_words_before_anything_is_timed(local_device, models, facts):
    two_threads = replace(local_device.runtime, thread_count=2)
    guard = replace(local_device.guard, max_start_temperature_c=45.0)
    device = replace(local_device, runtime=two_threads, guard=guard)
    with (
        pytest.raises(AgentOutputError, match="no agent of ours") as error,
        open_session(device, transport=ToldFacts(facts)) as session,
    ):
        list(session.time_models(models("ok"), canary=models("ok")[0]))
    assert str(error.value).isprintable()


class Says(LocalTransport):
    """Every script gives this, and ends so."""

    def __init__(self, output: bytes, code: bytes) -> None:
        self.output, self.code = output, code

    def run(self, argv, timeout_s):
        nonce = re.search("proxyless-begin-([0-9a-f]+)", argv[2])[1].encode()
        said = b"proxyless-begin-%b\n%b\nproxyless-end-%b %b\n" % (nonce, self.output, nonce, self.code)
        return CommandResult(return_code=0, stdout=said, stderr=b"")


@pytest.mark.parametrize("code", [b"9" * 5000, b"1 2", "²".encode(), b"-1", b""])
def test_an_exit_code_that_no_program_has_is_a_lost_link(code):
    with pytest.raises(LinkLost, match="mid-command"):
        RemoteShell(Says(b"", code), reconnect_limit_s=0).run("true")


@pytest.mark.parametrize("free", ["²", "9" * 5000, "-", "5.0"])
def test_a_free_space_that_is_no_number_is_not_known(free):
    shell = RemoteShell(Says(b"/data", b"0"))
    folder = DeviceFolder(shell, "/data/ours")
    shell.transport.output = f"/dev/x 9 9 {free} 9% /".encode()
    assert folder.free_kb() is None


@pytest.mark.parametrize("version", ["null", '"\\u001b[2J\\nverdict"'])
def test_what_a_device_says_of_its_python_is_shown_without_control_characters(local_device, tmp_path, version):
    python = tmp_path / "fake" / "evil"
    told = (
        '{"t":"probe","runtime":"onnxruntime","executable":"\\u001b]0;owned\\u0007\\nx","python":"\\u001b[2J",'
        f'"version":{version},"package":null}}'
    )
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\n")
    python.chmod(0o755)
    device = replace(local_device, runner=PythonRunner(python=str(python)))
    if version == "null":
        with pytest.raises(RuntimeMissing, match=r"under \?\]0;owned\?\?x") as error, open_session(device):
            pass
        assert str(error.value).isprintable()
    else:
        with open_session(device) as session:
            words = [session.facts.runtime_version, *map(str, session.facts.details.values())]
        assert all(word.isprintable() for word in words)


def test_a_link_that_is_lost_late_in_a_long_action_is_made_anew_all_the_same():
    clock_s, reconnected = [0.0], []
    link = SimpleNamespace(address="phone", reconnect=lambda: reconnected.append(clock_s[0]))
    shell = RemoteShell(
        link,
        reconnect_limit_s=60.0,
        clock_s=lambda: clock_s[0],
        sleep=lambda seconds: clock_s.__setitem__(0, clock_s[0] + seconds),
    )

    def push():
        clock_s[0] += 70.0
        if not reconnected:
            raise LinkLost("gone")
        return "pushed"

    assert shell.persist(push) == "pushed" and reconnected == [70.2]
