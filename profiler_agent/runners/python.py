"""The `python` runner's half on the host: one zipapp, the device's interpreter, JSON in and out."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.bundle import DeviceFile, write_runner
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device, LocalLink, PythonRunner, RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentOutputError, RuntimeMissing
from profiler_agent.journal import load_object
from profiler_agent.remote_shell import RemoteShell, printable
from profiler_agent.runner import Batch, BatchSamples, RuntimeFound, one_process_limit_s, one_process_s
from profiler_agent.runners.output_lines import culprit_of, has_begun, read_output
from profiler_agent.runners.pinning import pin_words, require_cores

_PACKAGES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert (or tflite-runtime)", "torch": "torch"}


@dataclass(frozen=True, kw_only=True)
class PythonHostRunner:
    runtime: RuntimeOptions
    python: str
    zipapp: DeviceFile

    @staticmethod
    def build(device: Device, folder: Path) -> PythonHostRunner:
        assert isinstance(device.runner, PythonRunner)
        default = sys.executable if isinstance(device.transport, LocalLink) else "python3"
        return PythonHostRunner(
            runtime=device.runtime, python=device.runner.python or default, zipapp=write_runner(folder)
        )

    @property
    def _interpreter(self) -> str:
        """As a word of sh; ``~/`` is the device's home."""
        return f'"$HOME"/{shlex.quote(self.python[2:])}' if self.python.startswith("~/") else shlex.quote(self.python)

    def files(self) -> Sequence[DeviceFile]:
        return (self.zipapp,)

    def probe(self, shell: RemoteShell, folder: DeviceFolder) -> RuntimeFound:
        script = f'{self._interpreter} "$1" probe "$2"'
        result = shell.insist(script, folder.cached(self.zipapp.sha256), self.runtime.name)
        fields = load_object(result.stdout.strip())
        if fields is None and result.return_code != 0:
            raise RuntimeMissing(
                f"{self.python!r} does not run on {shell.transport.address}: {result.stderr.strip()[-300:]}. Install "
                "Python 3.8 or later there, or name its path under runner.python in the device file."
            )
        if fields is None or fields.get("runtime") != self.runtime.name:
            raise AgentOutputError(f"The runner's probe answered {result.text[:200]!r}.")
        words = {key: _word(fields.get(key)) for key in ("package", "version", "python", "executable")}
        if fields.get("version") is None:
            raise RuntimeMissing(
                f"{shell.transport.address} has no {_PACKAGES[self.runtime.name]} under {words['executable']} "
                f"(Python {words['python']}). Install it there with that interpreter's pip, or name another "
                "interpreter under runner.python in the device file."
            )
        require_cores(shell, self.runtime)
        return RuntimeFound(
            name=self.runtime.name,
            version=words["version"] if words["package"] != "tflite-runtime" else f"tflite-runtime {words['version']}",
            details={"python": words["python"], "executable": words["executable"], "package": words["package"]},
        )

    def launcher(self, folder: DeviceFolder) -> str:
        # Idle helper threads of the numeric libraries are not started: the runner makes its inputs and times.
        words = f"{self._interpreter} {shlex.quote(folder.cached(self.zipapp.sha256))} run"
        return (
            "export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1\n"
            f'exec {pin_words(self.runtime)}{words} "$PWD/$1.job"\n'
        )

    def job_content(self, batch: Batch) -> bytes:
        plan = batch.plan
        job = {
            "models": batch.model_paths,
            "seed": batch.seed,
            "model_limit_s": batch.model_limit_s,
            "runtime": {
                "name": self.runtime.name,
                "thread_count": self.runtime.thread_count,
                "accelerator": self.runtime.accelerator,
            },
            "plan": {
                "warmup_runs": plan.warmup_runs,
                "burst_warmup_runs": plan.burst_warmup_runs,
                "burst_ns": round(plan.burst_ms * 1e6),
                "burst_retries": plan.burst_retries,
                "round_count": plan.round_count,
                "rest_s": plan.rest_ms / 1000.0,
            },
        }
        return json.dumps(job, sort_keys=True).encode()

    def expected_job_s(self, plan: TimingPlan, model_count: int) -> float:
        return one_process_s(plan, model_count)

    def job_limit_s(self, batch: Batch) -> int:
        return one_process_limit_s(batch)

    def read(self, output: bytes, batch: Batch) -> BatchSamples:
        return read_output(output, batch)

    def culprit(self, output: bytes) -> int | None:
        return culprit_of(output)

    def has_begun(self, output: bytes) -> bool:
        return has_begun(output)


def _word(value: object) -> str:
    """One of the device's words in one line."""
    return printable(str(value), 200).replace("\n", "?")
