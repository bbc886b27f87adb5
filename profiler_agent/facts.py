"""Who the device is: what it says about itself, and the fingerprint that keeps devices apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler_agent.errors import AgentOutputError
from profiler_agent.remote_shell import RemoteShell, printable

# Builtins, uname and (where it exists) getprop only: phones lack most of the rest.
IDENTIFY_SCRIPT = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
first() { line=; [ -r "$1" ] && read -r line 2>/dev/null <"$1"; printf '%s' "$line"; }
say machine "$(uname -m)"
say system "$(uname -s)"
say kernel "$(uname -r)"
say cpus "$(first /sys/devices/system/cpu/possible)"
say machine_id "$(first /etc/machine-id)"
say board "$(first /proc/device-tree/serial-number)"
say governor "$(first /sys/devices/system/cpu/cpufreq/policy0/scaling_governor)"
capacities=
for file in /sys/devices/system/cpu/cpu[0-9]*/cpu_capacity; do
    [ -r "$file" ] && capacities="$capacities $(first "$file")"
done
say cpu_capacities "${capacities# }"
if [ -r /proc/cpuinfo ]; then
    while IFS= read -r line; do
        case $line in
        'model name'* | Hardware* | Model*) say cpu_model "${line#*: }"; break ;;
        esac
    done </proc/cpuinfo
fi
if [ -r /proc/meminfo ]; then
    read -r _ value _ </proc/meminfo
    say memory_kb "$value"
fi
if command -v getprop >/dev/null 2>&1; then
    for name in ro.serialno ro.build.fingerprint ro.product.model ro.build.version.sdk ro.product.cpu.abi; do
        say "$name" "$(getprop "$name")"
    done
elif [ -r /etc/os-release ]; then
    while IFS= read -r line; do
        case $line in PRETTY_NAME=*) line=${line#PRETTY_NAME=}; line=${line#\"}; say os "${line%\"}" ;; esac
    done </etc/os-release
fi
"""

_IDENTITY = (
    "machine",
    "system",
    "cpus",
    "machine_id",
    "board",
    "cpu_model",
    "os",
    "ro.serialno",
    "ro.build.fingerprint",
)
_KNOWN = frozenset(
    (
        *_IDENTITY,
        "kernel",
        "governor",
        "cpu_capacities",
        "memory_kb",
        "ro.product.model",
        "ro.build.version.sdk",
        "ro.product.cpu.abi",
    )
)
_PRIVATE = frozenset(("machine_id", "board", "ro.serialno"))
_MAX_VALUE = 256


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """Attributes:
    fingerprint: stable for one physical device and its system; another device has another one.
    details: what the device said about itself; a value it does not tell is None.
    """

    fingerprint: str
    runtime_name: str
    runtime_version: str
    details: Mapping[str, Any] = field(default_factory=dict)


def identify(shell: RemoteShell) -> dict[str, str | None]:
    """Ask the device about itself.

    Raises:
        AgentOutputError: the answer holds nothing that names a machine.
    """
    result = shell.insist(IDENTIFY_SCRIPT)
    details: dict[str, str | None] = dict.fromkeys(sorted(_KNOWN))
    for line in result.stdout.decode("utf-8", "replace").split("\n"):
        key, tab, value = line.partition("\t")
        if tab and key in _KNOWN:
            details[key] = printable(value, _MAX_VALUE).strip("?\n ") or None
    if details["machine"] is None:
        raise AgentOutputError(
            f"{shell.transport.address} did not say what machine it is; it said: {result.text[:200]!r}. "
            "Is its login shell a POSIX sh, and does it print nothing of its own?"
        )
    return details


def fingerprint_of(details: Mapping[str, str | None]) -> str:
    """Sixteen hexadecimal digits over what does not change from boot to boot."""
    text = "\x1f".join(details.get(key) or "" for key in _IDENTITY)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def public_details(details: Mapping[str, str | None]) -> dict[str, str | None]:
    """Without the numbers that name one owner's machine: the fingerprint stands for them."""
    return {key: value for key, value in details.items() if key not in _PRIVATE}
