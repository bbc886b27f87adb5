"""The `benchmark_model` runner's half on the host: the TFLite project's own binary, one short run per round."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from profiler_agent.bundle import DeviceFile, file_sha256
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import BenchmarkModelRunner, Device, RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentOutputError, ConfigError, RuntimeMissing
from profiler_agent.remote_shell import RemoteShell, printable
from profiler_agent.runner import Batch, BatchSamples, RuntimeFound
from profiler_agent.runners.benchmark_text import BenchmarkResult, OpTime, parse_benchmark, parse_op_profile
from profiler_agent.timing import SessionSamples

_JOB_MARGIN_S = 60
_MARK = re.compile(r"^proxyless-run (?P<round>[0-9]+) (?P<model>[0-9]+)$", re.MULTILINE)
_END = "proxyless-runs-end"


@dataclass(frozen=True, kw_only=True)
class BenchmarkModelHostRunner:
    """Every round is a process of its own: the binary prints statistics over its runs and no raw times."""

    runtime: RuntimeOptions
    binary: DeviceFile

    @staticmethod
    def build(device: Device) -> BenchmarkModelHostRunner:
        """Check the binary against the device file's hash before anything is pushed.

        Raises:
            ConfigError: it is not there, or it is another one.
        """
        assert isinstance(device.runner, BenchmarkModelRunner)
        path = device.runner.binary
        if not path.is_file():
            raise ConfigError(
                f"runner.binary names {path}, which is not there. The README of profiler_agent says where "
                "benchmark_model comes from."
            )
        sha256 = file_sha256(path)
        if sha256 != device.runner.sha256:
            raise ConfigError(
                f"{path} has the sha256 {sha256}, but {device.source_file} says {device.runner.sha256}. If "
                "the new binary is meant, write its hash there."
            )
        binary = DeviceFile(sha256=sha256, path=path, is_executable=True)
        return BenchmarkModelHostRunner(runtime=device.runtime, binary=binary)

    def files(self) -> Sequence[DeviceFile]:
        return (self.binary,)

    def probe(self, shell: RemoteShell, folder: DeviceFolder) -> RuntimeFound:
        result = shell.insist('"$1" --help', folder.cached(self.binary.sha256))
        words = result.text + result.stderr
        if "--graph" not in words:
            raise RuntimeMissing(
                f"benchmark_model does not run on {shell.transport.address} ({words.strip()[-200:]}). Is it built for "
                "this machine (phones: android_aarch64)?"
            )
        # The binary does not tell its version; its hash does.
        return RuntimeFound(name="litert", version=f"benchmark_model {self.binary.sha256[:12]}")

    def launcher(self, folder: DeviceFolder) -> str:
        return (
            "while read -r round model flags; do\n"
            '    echo "proxyless-run $round $model"\n'
            f"    {self._pin}'{folder.cached(self.binary.sha256)}' $flags 2>&1 || exit 1\n"
            'done <"$1.job"\n'
            f"echo {_END}\n"
        )

    def job_content(self, batch: Batch) -> bytes:
        order = list(range(len(batch.model_paths)))
        shuffle = random.Random(batch.seed).shuffle
        lines = []
        for round_index in range(batch.plan.round_count):
            shuffle(order)
            lines += [f"{round_index} {m} {self._flags(batch.model_paths[m], batch.plan)}\n" for m in order]
        return "".join(lines).encode()

    def job_limit_s(self, batch: Batch) -> int:
        return int(_JOB_MARGIN_S + batch.model_limit_s * len(batch.model_paths))

    def read(self, output: bytes, batch: Batch) -> BatchSamples:
        text = output.decode("utf-8", "replace")
        body, end, rest = text.rpartition(_END)
        if not end or rest.strip():
            raise AgentOutputError("The output of benchmark_model's runs has no end; nothing of this job was used.")
        results = _by_model_and_round(body, len(batch.model_paths), batch.plan.round_count)
        canary_ms = tuple(result.average_ms for result in results[-1])
        sessions = tuple(
            SessionSamples(
                samples_ms=tuple(result.average_ms for result in rounds),
                runs_per_burst=min(result.run_count for result in rounds),
                involuntary_switches=(None,) * len(rounds),
                canary_ms=canary_ms,
            )
            for rounds in results[:-1]
        )
        places = dict.fromkeys(result.ran_on for rounds in results for result in rounds)
        self._require_accelerator(places)
        return BatchSamples(sessions=sessions, ran_on=printable(", ".join(places), 200))

    def culprit(self, output: bytes) -> int | None:
        marks = _MARK.findall(output.decode("utf-8", "replace"))
        return int(marks[-1][1]) if marks else None

    def profile_ops(self, shell: RemoteShell, folder: DeviceFolder, model_path: str) -> tuple[OpTime, ...]:
        """What ran of one model, op by op. For looking, not for latencies: profiling slows the model by 3-27 %."""
        flags = f"{self._flags(model_path, TimingPlan())} --enable_op_profiling=true"
        program = f"{self._pin}'{folder.cached(self.binary.sha256)}' {flags} 2>&1"
        return parse_op_profile(printable(shell.insist(program, timeout_s=60).stdout.replace(b"\t", b"  "), 1 << 20))

    @property
    def _pin(self) -> str:
        return f"taskset {self.runtime.core_mask} " if self.runtime.core_mask else ""

    def _flags(self, model_path: str, plan: TimingPlan) -> str:
        """Words without spaces only: the launcher splits them."""
        seconds = f"{plan.burst_ms / 1000:.4f}"
        flags = [
            f"--graph={model_path}",
            f"--num_threads={self.runtime.thread_count}",
            f"--warmup_runs={plan.warmup_runs}",
            "--warmup_min_secs=0",
            "--num_runs=1",
            f"--min_secs={seconds}",
        ]
        if self.runtime.accelerator == "gpu":
            flags.append("--use_gpu=true")
        words = " ".join(flags)
        assert words == " ".join(shlex.quote(flag) for flag in flags), "our own paths hold nothing to quote"
        return words

    def _require_accelerator(self, places: dict[str, None]) -> None:
        if self.runtime.accelerator == "gpu" and not all(place.startswith("GPU") for place in places):
            raise AgentOutputError(
                f"The device file asks for the GPU, but benchmark_model ran on {', '.join(places)}. Nothing was used."
            )


def _by_model_and_round(body: str, model_count: int, round_count: int) -> list[list[BenchmarkResult]]:
    marks = list(_MARK.finditer(body))
    found: dict[tuple[int, int], BenchmarkResult] = {}
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        text = body[mark.end() : following.start() if following else len(body)]
        found[int(mark["model"]), int(mark["round"])] = parse_benchmark(text)
    wanted = {(model, round_index) for model in range(model_count) for round_index in range(round_count)}
    if set(found) != wanted or len(marks) != len(wanted):
        raise AgentOutputError(f"{len(marks)} runs of benchmark_model came back, {len(wanted)} were asked for.")
    return [[found[model, round_index] for round_index in range(round_count)] for model in range(model_count)]
