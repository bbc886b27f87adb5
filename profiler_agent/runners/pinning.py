"""``taskset`` in front of a runner's program, and whether the device takes the mask."""

from __future__ import annotations

from profiler_agent.device import RuntimeOptions
from profiler_agent.errors import ConfigError
from profiler_agent.remote_shell import RemoteShell

_ALL_CORES = "unset OMP_NUM_THREADS OMP_THREAD_LIMIT; nproc"  # which obeys these


def pin_words(runtime: RuntimeOptions) -> str:
    """What stands before the program in sh; nothing without a mask."""
    return f"taskset {runtime.core_mask} " if runtime.core_mask else ""


def require_cores(shell: RemoteShell, runtime: RuntimeOptions) -> None:
    """Try the mask before the first job.

    Raises:
        ConfigError: the device has no ``taskset``, or none of the mask's cores.
    """
    if runtime.core_mask is None:
        return
    result = shell.insist(f"{pin_words(runtime)}true")
    if result.return_code != 0:
        cores = shell.insist(f"({_ALL_CORES}) 2>/dev/null || grep -c '^processor' /proc/cpuinfo").text.strip()
        raise ConfigError(
            f"{shell.transport.address} does not take runtime.core_mask {runtime.core_mask!r} "
            f"({result.stderr.strip()[-200:] or 'taskset said nothing'}). It has {cores or 'an unknown number of'} "
            "core(s); name some of them in hexadecimal ('3': the first two), or leave core_mask out."
        )
