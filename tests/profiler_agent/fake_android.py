"""What a phone has beside a shell, for tests: ``cmd power`` that records its calls, ``getprop``, clusters of cores."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler_agent.bundle import AGENT_SCRIPT

FREE_KHZ, FIXED_KHZ = 2_400_000, 1_400_000
CORES = ("0 1 2 3", "4 5 6 7")
SYSFS = "/sys/devices/system/cpu/cpufreq"
_MODE = "power set-fixed-performance-mode-enabled"


@dataclass(frozen=True)
class FakeAndroid:
    """``bin`` goes before everything else on the agent's path; ``agent`` is our agent, but for where it looks for
    clocks and how long it waits for the power service."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def path(self) -> str:
        return f"{self.bin}:{os.environ['PATH']}"

    @property
    def agent(self) -> Path:
        return self.folder / "agent.sh"

    @property
    def calls(self) -> list[str]:
        """What the mode was set to, in order."""
        log = self.folder / "calls.log"
        words = log.read_text().splitlines() if log.exists() else []
        assert all(word.startswith(f"{_MODE} ") for word in words), words
        return [word.removeprefix(f"{_MODE} ") for word in words]

    def answer(self, *, to_true: int = 0, to_false: int = 0, after_s: float = 0) -> None:
        """``cmd`` ends with these codes; where it takes the wish, it moves the limits of all clusters."""
        self._program(
            "cmd",
            f"""
echo "$*" >>{self.folder}/calls.log
sleep {after_s}
case $3 in true) code={to_true} khz={FIXED_KHZ} ;; *) code={to_false} khz={FREE_KHZ} ;; esac
[ $code = 0 ] || exit $code
for policy in {self.clusters}/policy*; do echo $khz >$policy/scaling_max_freq; done
""",
        )

    def has_release(self, sdk: str) -> None:
        self._program("getprop", f"[ $1 = ro.build.version.sdk ] && echo {sdk}")

    @property
    def clusters(self) -> Path:
        return self.folder / "cpufreq"

    def cluster(self, first_core: int) -> Path:
        return self.clusters / f"policy{first_core}"

    def _program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def start_agent(
        self,
        root: Path,
        *,
        runner: str,
        lease_s: int = 20,
        clocks: str = "fixed",
        shell: Sequence[str] = ("sh",),
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """The agent on one job in a run folder of its own, as a host would start it that never comes back."""
        run = root / "run-0123456789abcdef"
        run.mkdir(parents=True, exist_ok=True)
        (run / "job_list").write_text("job 30\n")
        (run / "runner").write_text(runner)
        (run / "lease").write_text("0\n")
        program = [str(shutil.which(shell[0])), *shell[1:], str(self.agent), str(run), "s", str(lease_s), "1", clocks]
        environment = {**os.environ, "PATH": self.path}
        # A shell cannot trap a signal that it was started with as ignored, as everything under nohup is.
        heard = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            agent = subprocess.Popen(program, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        finally:
            signal.signal(signal.SIGHUP, heard)
        return agent, run


def make_fake_android(folder: Path) -> FakeAndroid:
    """Android 14 with two clusters of four cores, whose ``cmd`` takes every wish."""
    android = FakeAndroid(folder)
    android.bin.mkdir(parents=True)
    for cores in CORES:
        policy = android.cluster(int(cores[0]))
        policy.mkdir(parents=True)
        values = {"related_cpus": cores, "scaling_min_freq": 300_000, "scaling_max_freq": FREE_KHZ}
        for name, value in {**values, "scaling_cur_freq": 1_000_000}.items():
            (policy / name).write_text(f"{value}\n")
    script = AGENT_SCRIPT.read_text()
    for real, quick in ((SYSFS, str(android.clusters)), ("timeout 10", "timeout 1"), ("sleep 1 # ", "sleep 0.1 # ")):
        assert real in script
        script = script.replace(real, quick)
    android.agent.write_text(script)
    android.answer()
    android.has_release("34")
    return android
