"""The `native` runner's half on the host: a C program with its loader and libraries, for devices without Python."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.bundle import DeviceFile, device_file, file_sha256
from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device, NativeRunner, RuntimeOptions, TimingPlan
from profiler_agent.errors import AgentFailed, ConfigError, RuntimeMissing
from profiler_agent.journal import load_object
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.runner import Batch, BatchSamples, RuntimeFound, one_process_limit_s, one_process_s
from profiler_agent.runners.output_lines import culprit_of, has_begun, read_output
from profiler_agent.runners.pinning import pin_words, require_cores

_DESCRIPTION = "runner.json"
_SOURCE = Path(__file__).parents[1] / "native" / "runner.c"


@dataclass(frozen=True, kw_only=True)
class NativeHostRunner:
    """``parts`` are the folder's files by name: the program, its loader, its libraries."""

    runtime: RuntimeOptions
    machine: str
    loader: str
    litert: str
    parts: Mapping[str, DeviceFile]

    @staticmethod
    def build(device: Device) -> NativeHostRunner:
        """Read the folder that ``make native-runner`` filled.

        Raises:
            ConfigError: it is not there, not whole or of another version, or the device file asks for what this runner
                cannot do.
        """
        assert isinstance(device.runner, NativeRunner)
        if device.runtime.thread_count != 1 or device.runtime.accelerator != "cpu":
            raise ConfigError("runner.kind native times one thread on the CPU; use benchmark_model for more.")
        folder = device.runner.folder.expanduser()
        description = folder / _DESCRIPTION
        fields = load_object(description.read_bytes()) if description.is_file() else None
        if (
            fields is None
            or fields.get("schema") != 1
            or not all(isinstance(fields.get(key), str) for key in ("machine", "loader", "litert"))
        ):
            raise ConfigError(
                f"{folder.absolute()} holds no native runner. Run `make native-runner`, then name its folder."
            )
        if fields.get("source_sha256") != file_sha256(_SOURCE):
            raise ConfigError(
                f"{folder.absolute()} holds a native runner of another version of proxyless, which would misread its "
                "jobs. Run `make native-runner` again."
            )
        parts = {
            path.name: device_file(path, is_executable=path.name in ("runner", fields["loader"]))
            for path in sorted(folder.iterdir())
            if path.name != _DESCRIPTION and path.is_file()
        }
        return NativeHostRunner(
            runtime=device.runtime,
            machine=fields["machine"],
            loader=fields["loader"],
            litert=fields["litert"],
            parts=parts,
        )

    def files(self) -> Sequence[DeviceFile]:
        return tuple(self.parts.values())

    def probe(self, shell: RemoteShell, folder: DeviceFolder) -> RuntimeFound:
        script = f'cd "$1" && mkdir -p "$2" && cd "$2" || exit 3\n(set -- probe\n{self._program(folder)})'
        result = shell.insist(
            f'{script}\nrc=$?\nrm -rf "$1/$2"\nexit $rc', folder.path, f"stage-{secrets.token_hex(8)}"
        )
        fields = load_object(result.stdout.strip())
        if result.return_code != 0 or fields is None or fields.get("runtime") != "litert":
            raise RuntimeMissing(
                f"The native runner ({self.machine}) does not run on {shell.transport.address}: "
                f"{result.stderr.strip()[-300:] or 'it said nothing'}. Is the machine the right one?"
            )
        require_cores(shell, self.runtime)
        return RuntimeFound(name="litert", version=self.litert, details={"runner": f"native {self.machine}"})

    def launcher(self, folder: DeviceFolder) -> str:
        return f'set -- run "$PWD/$1.job"\n{self._program(folder, pin_words(self.runtime))}\n'

    def job_content(self, batch: Batch) -> bytes:
        plan = batch.plan
        numbers = (
            plan.warmup_runs,
            plan.burst_warmup_runs,
            round(plan.burst_ms * 1e6),
            plan.burst_retries,
            plan.round_count,
            round(plan.rest_ms * 1000),
            batch.seed,
            max(1, round(batch.model_limit_s)),
        )
        return "\n".join([" ".join(map(str, numbers)), *batch.model_paths, ""]).encode()

    def expected_job_s(self, plan: TimingPlan, model_count: int) -> float:
        return one_process_s(plan, model_count)

    def job_limit_s(self, batch: Batch) -> int:
        return one_process_limit_s(batch)

    def read(self, output: bytes, batch: Batch) -> BatchSamples:
        samples = read_output(output, batch)
        last = load_object(output.strip().rpartition(b"\n")[2]) or {}
        threads = last["runtime"].get("threads")
        if threads != 1:
            raise AgentFailed(
                f"LiteRT ran on {threads} threads in the native runner, which is to time one. Use runner.kind "
                "benchmark_model for this device."
            )
        return samples

    def culprit(self, output: bytes) -> int | None:
        return culprit_of(output)

    def has_begun(self, output: bytes) -> bool:
        return has_begun(output)

    def _program(self, folder: DeviceFolder, pin: str = "") -> str:
        """sh that runs the program: its libraries are found by name, so each gets a link beside the job."""
        links = "\n".join(
            shlex.join(["ln", "-sf", folder.cached(part.sha256), f"lib/{name}"]) for name, part in self.parts.items()
        )
        loader = f'"$PWD/lib/{self.loader}" --library-path "$PWD/lib"'
        return f'mkdir -p lib\n{links}\nexec {pin}{loader} "$PWD/lib/runner" "$@"'
