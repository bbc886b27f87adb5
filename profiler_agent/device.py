"""Device: everything that is known about a device before it is touched; made by reading one YAML file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from profiler_agent.errors import ConfigError

RuntimeName: TypeAlias = Literal["onnxruntime", "litert", "torch"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LARGEST_QUANTILE = 0.5
_SHORTEST_LEASE_S = 2
_LARGEST_PORT = 65535
_WEEK_S = 7 * 24 * 3600
# What a guard may be set to; a phone's sh reckons with 32 bits.
_HIGHEST = {
    "max_cpu_pressure_percent": 100,
    "min_free_mb": 1_000_000,
    "wait_limit_s": _WEEK_S,
    "lease_s": _WEEK_S,
    "model_limit_s": _WEEK_S,
}
_COLDEST_LIMIT_C, _HOTTEST_LIMIT_C = 10.0, 120.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What executes the models. ``core_mask`` is hexadecimal as ``taskset`` takes it (``f0``: cores 4-7)."""

    name: RuntimeName
    thread_count: int = 1
    core_mask: str | None = None
    accelerator: Literal["cpu", "cuda", "gpu"] = "cpu"

    def __post_init__(self) -> None:
        _require(self.thread_count >= 1, f"thread_count is {self.thread_count}; it must be 1 or more.")
        mask_is_right = self.core_mask is None or bool(re.fullmatch(r"[0-9a-fA-F]{1,256}", self.core_mask))
        _require(mask_is_right, f"core_mask is {self.core_mask!r}; write hexadecimal digits such as 'f0'.")
        if self.core_mask is not None:
            core_count = bin(int(self.core_mask, 16)).count("1")
            _require(
                core_count >= self.thread_count,
                f"core_mask {self.core_mask!r} allows {core_count} core(s) for {self.thread_count} thread(s).",
            )


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """How a model is timed; stored with every result.

    A session is one fresh runner process. In it each model gets ``warmup_runs``, then one burst of about
    ``burst_ms`` in each of ``round_count`` rounds over shuffled models; ``burst_warmup_runs`` untimed runs go before
    each burst, or as many as are in it. Sessions are added from ``session_count`` up to ``max_sessions`` until the
    ``session_count`` fastest agree within ``spread_limit``.
    ``low_quantile``: which of the rounds' paces stands for the device, and which of a session's samples where no pace
    is known.
    """

    warmup_runs: int = 5
    burst_warmup_runs: int = 3  # the models between two bursts emptied the caches (README, Warm bursts)
    burst_ms: float = 2.5  # below a scheduler slice (3-4 ms): longer ones are nearly always preempted under load
    burst_retries: int = 4
    round_count: int = 16
    session_count: int = 3
    max_sessions: int = 9
    low_quantile: float = 0.25
    spread_limit: float = 0.03
    canary_limit: float = 0.10
    rest_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("warmup_runs", "round_count", "session_count"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be 1 or more.")
        for name in ("burst_warmup_runs", "burst_retries", "rest_ms"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must be 0 or more.")
        for name in ("burst_ms", "spread_limit", "canary_limit"):
            value = getattr(self, name)
            _require(value > 0 and math.isfinite(value), f"{name} is {value}; it must be a number above 0.")
        _require(
            0 < self.low_quantile <= _LARGEST_QUANTILE, f"low_quantile is {self.low_quantile}; it lies in (0, 0.5]."
        )
        _require(
            self.max_sessions >= self.session_count,
            f"max_sessions is {self.max_sessions}, below session_count {self.session_count}.",
        )


@dataclass(frozen=True, kw_only=True)
class Guard:
    """When a run waits, and when it gives up. Waiting is bounded by ``wait_limit_s`` in all cases.

    ``fixed_performance`` asks Android 11 or later for clocks between bounds that it can keep up for a while, and only
    while models are timed. A device that cannot is timed all the same; its facts say ``refused`` or ``missing``.
    """

    max_start_temperature_c: float | None = None
    min_battery_percent: float | None = None  # where it does not charge
    max_cpu_pressure_percent: float = 10.0  # gates runs with more than one thread only; 100 gates none
    fixed_performance: bool = False
    min_free_mb: float = 64.0
    wait_limit_s: float = 300.0
    lease_s: int = 60
    model_limit_s: float = 30.0

    def __post_init__(self) -> None:
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            _require(0 < value <= highest, f"{name} is {value}; it must be a number above 0, at most {highest}.")
        limit_c = self.max_start_temperature_c
        _require(
            limit_c is None or _COLDEST_LIMIT_C <= limit_c <= _HOTTEST_LIMIT_C,
            f"max_start_temperature_c is {limit_c}; it lies between {_COLDEST_LIMIT_C:.0f} and {_HOTTEST_LIMIT_C:.0f}.",
        )
        percent = self.min_battery_percent
        _require(
            percent is None or 0 < percent <= 100,  # noqa: PLR2004 - a percentage
            f"min_battery_percent is {percent}; it lies between 0 and 100.",
        )
        _require(
            self.lease_s >= _SHORTEST_LEASE_S, f"lease_s is {self.lease_s}; it must be {_SHORTEST_LEASE_S} or more."
        )


@dataclass(frozen=True, kw_only=True)
class LocalLink:
    """This machine."""

    kind: Literal["local"] = "local"


@dataclass(frozen=True, kw_only=True)
class AdbLink:
    """A phone or emulator through the ``adb`` binary. ``serial`` may be left out when one device is attached."""

    kind: Literal["adb"]
    serial: str | None = None
    adb: Path | None = None

    def __post_init__(self) -> None:
        is_right = self.serial is None or re.fullmatch(r"[A-Za-z0-9_.:\[\]-]+", self.serial) is not None
        _require(is_right, f"serial is {self.serial!r}; copy it from `proxyless device list`.")


@dataclass(frozen=True, kw_only=True)
class SshLink:
    """A board or server through SSH. The host key must be known: ``known_hosts`` or ``host_key_sha256``.

    ``host`` and ``user`` may name an environment variable (``$PROXYLESS_HOST``), so that a file that is
    shared holds no address."""

    kind: Literal["ssh"]
    host: str
    user: str | None = None
    port: int = 22
    key_file: Path | None = None
    known_hosts: Path | None = None
    host_key_sha256: str | None = None
    use_ssh_agent: bool = False

    def __post_init__(self) -> None:
        _require(0 < self.port <= _LARGEST_PORT, f"port is {self.port}; it lies between 1 and 65535.")


Link: TypeAlias = LocalLink | AdbLink | SshLink


@dataclass(frozen=True, kw_only=True)
class PythonRunner:
    """Our zipapp under the device's Python (3.8 or later). ``python`` is a path there (``~/`` is its home)
    or a word to look up."""

    kind: Literal["python"] = "python"
    python: str | None = None


@dataclass(frozen=True, kw_only=True)
class BenchmarkModelRunner:
    """The TFLite project's own ``benchmark_model``, pushed from this machine after its hash was checked."""

    kind: Literal["benchmark_model"]
    binary: Path
    sha256: str

    def __post_init__(self) -> None:
        _require(self.binary.is_absolute(), f"binary is {str(self.binary)!r}; give an absolute path.")
        _require(_SHA256.fullmatch(self.sha256) is not None, "sha256 must be 64 lower-case hexadecimal digits.")


@dataclass(frozen=True, kw_only=True)
class NativeRunner:
    """Our C runner with its libraries, from the folder that ``make native-runner`` fills. Experimental."""

    kind: Literal["native"]
    folder: Path


RunnerOptions: TypeAlias = PythonRunner | BenchmarkModelRunner | NativeRunner


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device as its file describes it.

    ``directory`` is the folder on the device that holds everything of ours; ``fingerprint``, where given,
    is what the device must answer with.
    """

    name: str
    transport: Link
    runtime: RuntimeOptions
    source_file: Path
    runner: RunnerOptions = field(default_factory=PythonRunner)
    plan: TimingPlan = field(default_factory=TimingPlan)
    guard: Guard = field(default_factory=Guard)
    directory: str | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, f"name is {self.name!r}; use letters, digits, '_', '.', '-'.")
        is_plain = self.directory is None or (
            self.directory.startswith("/")
            and ".." not in self.directory.split("/")
            and len([part for part in self.directory.split("/") if part]) > 1
            and self.directory.isprintable()
        )
        _require(is_plain, f"directory is {self.directory!r}; give an absolute path of its own without '..'.")
        if isinstance(self.runner, BenchmarkModelRunner | NativeRunner):
            _require(self.runtime.name == "litert", f"runner {self.runner.kind} runs 'litert' models only.")
        is_gpu_possible = isinstance(self.runner, BenchmarkModelRunner)
        _require(
            self.runtime.accelerator != "gpu" or is_gpu_possible,
            "accelerator gpu means a phone's GPU and needs runner.kind benchmark_model; NVIDIA's is 'cuda'.",
        )


def load_device(path: Path | str) -> Device:
    """Read one device file.

    Raises:
        ConfigError: no such file, no YAML, an unknown key (with the nearest spelling), or a value out of range.
    """
    from profiler_agent.device_file import read_device_file  # noqa: PLC0415 - pydantic and yaml load late

    return read_device_file(Path(path))
