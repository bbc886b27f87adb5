"""The `benchmark_model` runner's half on the host: the TFLite project's own binary, one short run per round."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from profiler_agent.bundle import DeviceFile, file_sha256
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import BenchmarkModelRunner, Device, RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentFailed, AgentOutputError, ConfigError, RuntimeMissing
from profiler_agent.remote_shell import RemoteShell, printable
from profiler_agent.runner import Batch, BatchSamples, Refused, RuntimeFound
from profiler_agent.runners.benchmark_text import BenchmarkResult, ModelRefused, parse_benchmark
from profiler_agent.runners.op_profile_text import OpTime, parse_op_profile
from profiler_agent.runners.pinning import pin_words, require_cores
from profiler_agent.timing import SessionSamples

# A job's file: the limit of one invocation and the rest after it, in seconds; the flags; then a line "round model path"
# for each invocation. The path is the rest of its line, so that it may hold spaces. An invocation that hangs is ended
# by the watcher and not by timeout, whose toybox version loses exit codes. Of one that fails the words go to standard
# error, without chatter.
_LAUNCHER = r"""
exec <"$1.job"
read -r limit_s rest_s
read -r flags
watch() {
    last=''
    while sleep 1 && [ -d "/proc/$$" ]; do
        read -r turn pid <turn
        [ "$turn" = "$last" ] || { last=$turn left=$limit_s && continue; }
        left=$((left - 1))
        [ "$left" -gt 0 ] || { : >slow && kill -KILL "$pid"; }
    done
}
rm -f slow
echo none >turn
watch >/dev/null 2>&1 &
watcher=$!
trap 'kill "$watcher" 2>/dev/null' EXIT
while read -r round model path; do
    echo "proxyless-run $round $model"
    PROGRAM --graph="$path" $flags 2>&1 </dev/null &
    pid=$!
    echo "$round.$model $pid" >turn
    wait "$pid"
    rc=$?
    [ "$rc" = 0 ] && { [ "$rest_s" = 0 ] || sleep "$rest_s"; } && continue
    sed -n '/^INFO:/d;/^VERBOSE:/d;/^proxyless-run /{s/.*//;h;d;};H;${x;p;}' "$1.out" | tail -c 1500 >&2
    [ -e slow ] && echo "Timeout ($limit_s s)" >&2
    exit "$rc"
done
echo proxyless-runs-end
"""
_JOB_MARGIN_S = 60
# To start, load and warm up: assumed, since no phone was at hand. Recorded runs say 17 to 144 ms for the loading alone;
# a GPU compiles its kernels each time.
_SECONDS_PER_PROCESS = {"cpu": 0.2, "gpu": 1.0, "cuda": 1.0}
_PROFILE_MS = 500
_PROFILING = ("--enable_op_profiling=true", "--use_profiler=true")  # TensorFlow Lite's name of it, and LiteRT's
_MARK = re.compile(r"^proxyless-run (?P<round>[0-9]{1,9}) (?P<model>[0-9]{1,9})$", re.MULTILINE)
_END = "proxyless-runs-end"


def process_per_round_s(runtime: RuntimeOptions, plan: TimingPlan, model_count: int) -> float:
    """About how long a job takes in which every round of a model is a process of its own."""
    per_process_s = _SECONDS_PER_PROCESS[runtime.accelerator] + (plan.burst_ms + plan.rest_ms) / 1e3
    return plan.round_count * model_count * per_process_s


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
        require_cores(shell, self.runtime)
        # The binary does not tell its version; its hash does.
        return RuntimeFound(name="litert", version=f"benchmark_model {self.binary.sha256[:12]}")

    def launcher(self, folder: DeviceFolder) -> str:
        program = f"{pin_words(self.runtime)}{shlex.quote(folder.cached(self.binary.sha256))}"
        return _LAUNCHER.replace("PROGRAM", program)

    def job_content(self, batch: Batch) -> bytes:
        order = list(range(len(batch.model_paths)))
        shuffle = random.Random(batch.seed).shuffle
        lines = []
        for round_index in range(batch.plan.round_count):
            shuffle(order)
            lines += [f"{round_index} {m} {batch.model_paths[m]}" for m in order]
        return _job(batch.model_limit_s, batch.plan.rest_ms, self._flags(batch.plan), lines)

    def expected_job_s(self, plan: TimingPlan, model_count: int) -> float:
        return process_per_round_s(self.runtime, plan, model_count)

    def job_limit_s(self, batch: Batch) -> int:
        # The launcher ends each invocation at the model's limit; this is for a launcher that cannot.
        each_s = batch.model_limit_s + batch.plan.rest_ms / 1e3
        return int(_JOB_MARGIN_S + each_s * len(batch.model_paths) * batch.plan.round_count)

    def read(self, output: bytes, batch: Batch) -> BatchSamples:
        text = output.decode("utf-8", "replace")
        body, end, rest = text.rpartition(_END)
        if not end or rest.strip():
            raise AgentOutputError("The output of benchmark_model's runs has no end; nothing of this job was used.")
        models = [self._samples(rounds) for rounds in _by_model_and_round(body, batch)]
        canary = models.pop()
        if isinstance(canary, Refused):
            raise AgentFailed(
                "The canary model runs beside all others, and benchmark_model gives no latency of it: "
                f"{canary.reason} Name another canary."
            )
        places = dict.fromkeys(
            place for model in (*models, canary) if isinstance(model, _Model) for place in model.places
        )
        return BatchSamples(
            sessions=tuple(
                model if isinstance(model, Refused) else replace(model.samples, canary_ms=canary.samples.samples_ms)
                for model in models
            ),
            ran_on=printable(", ".join(places), 200),
        )

    def _samples(self, rounds: Sequence[BenchmarkResult | Refused]) -> _Model | Refused:
        """What one model's rounds gave; a refusal in one of them is the model's."""
        results: list[BenchmarkResult] = []
        for result in rounds:
            if isinstance(result, Refused):
                return result
            results.append(result)
        places = tuple(dict.fromkeys(result.ran_on for result in results))
        if self.runtime.accelerator == "gpu" and not all(result.is_placed for result in results):
            return Refused(
                reason="LiteRT's benchmark_model does not say whether the GPU ran all of a model. Use the tool of that "
                "name from TensorFlow Lite for the GPU."
            )
        if self.runtime.accelerator == "gpu" and places != ("GPU",):
            where = printable(", ".join(places), 200)
            return Refused(
                reason=f"The device file asks for the GPU, but benchmark_model ran it on {where}. A latency of the "
                "wrong place is worse than none: leave it out, or use a device file for the processor."
            )
        samples = SessionSamples(
            samples_ms=tuple(result.average_ms for result in results),
            runs_per_burst=min(result.run_count for result in results),
            involuntary_switches=(None,) * len(results),
            canary_ms=(),
        )
        return _Model(samples=samples, places=places)

    def culprit(self, output: bytes) -> int | None:
        marks = _MARK.findall(output.decode("utf-8", "replace"))
        return int(marks[-1][1]) if marks else None

    def has_begun(self, output: bytes) -> bool:
        return _MARK.search(output.decode("utf-8", "replace")) is not None

    def op_profile_content(self, model_path: str, limit_s: float) -> bytes:
        """A job's file for what ran of one model, op by op. For looking, not for latencies: profiling slows the model
        by 3-27 %."""
        flags = [*self._flags(TimingPlan(burst_ms=_PROFILE_MS)), *_PROFILING]
        return _job(limit_s, 0.0, flags, [f"0 0 {model_path}"])

    def read_op_profile(self, output: bytes) -> tuple[OpTime, ...]:
        return parse_op_profile(output.decode("utf-8", "replace"))

    def _flags(self, plan: TimingPlan) -> list[str]:
        flags = [
            f"--num_threads={self.runtime.thread_count}",
            f"--warmup_runs={plan.warmup_runs}",
            "--warmup_min_secs=0",
            "--num_runs=1",
            f"--min_secs={plan.burst_ms / 1000:.4f}",
        ]
        return [*flags, "--use_gpu=true"] if self.runtime.accelerator == "gpu" else flags


@dataclass(frozen=True, kw_only=True)
class _Model:
    samples: SessionSamples
    places: tuple[str, ...]


def _job(limit_s: float, rest_ms: float, flags: Sequence[str], runs: Sequence[str]) -> bytes:
    rest_s = f"{rest_ms / 1000.0:.3f}" if rest_ms > 0 else "0"
    return "\n".join([f"{max(1, round(limit_s))} {rest_s}", " ".join(flags), *runs, ""]).encode()


def _by_model_and_round(body: str, batch: Batch) -> list[list[BenchmarkResult | Refused]]:
    marks = list(_MARK.finditer(body))
    texts: dict[tuple[int, int], str] = {}
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        text = body[mark.end() : following.start() if following else len(body)]
        texts[int(mark["model"]), int(mark["round"])] = text
    models, rounds = range(len(batch.model_paths)), range(batch.plan.round_count)
    wanted = {(model, round_index) for model in models for round_index in rounds}
    if set(texts) != wanted or len(marks) != len(wanted):
        raise AgentOutputError(f"{len(marks)} runs of benchmark_model came back, {len(wanted)} were asked for.")
    return [[_result(texts[m, round_index], batch.model_ids[m], round_index) for round_index in rounds] for m in models]


def _result(text: str, model_id: str, round_index: int) -> BenchmarkResult | Refused:
    try:
        return parse_benchmark(text)
    except ModelRefused as error:
        return Refused(reason=str(error))
    except AgentOutputError as error:
        raise AgentOutputError(f"{model_id}, round {round_index}: {error}") from error
