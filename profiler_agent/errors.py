"""The errors of the profiler's host side, and the one base type that the command line catches."""

from __future__ import annotations

from collections.abc import Mapping


class ProxylessError(Exception):
    """What happened, why, and how to mend it. ``exit_code`` is what the command line ends with."""

    exit_code: int = 2


class ConfigError(ProxylessError, ValueError):
    """A device file or an argument that cannot be meant."""


class DeviceNotReady(ProxylessError):
    """The device cannot be used now: absent, busy, hot, full, or not what it was."""

    exit_code = 3


class LinkLost(DeviceNotReady):
    """The connection to the device broke in mid-command; the agent on the device may still be running."""


class LinkRefused(DeviceNotReady):
    """The device or its link says no (unauthorised, unknown host key, wrong serial): trying again is no use."""


class DeviceBusy(DeviceNotReady):
    """Another session holds the device."""


class DeviceFull(DeviceNotReady):
    """Not enough space on the device for the files or the journal."""


class DeviceTooHot(DeviceNotReady):
    """The device did not cool below its limit in the time that its file allows."""


class DeviceBatteryLow(DeviceNotReady):
    """The battery ran down and nothing charges it; such devices lower their clocks."""


class DeviceThrottled(DeviceNotReady):
    """The device slowed itself, or was slowed, whenever something was timed on it."""


class DeviceTooBusy(DeviceNotReady):
    """Other programs keep the processor so busy that timings with several threads would be noise."""


class WrongDevice(DeviceNotReady):
    """The device that answers is not the one that was named, or the one it was before."""


class RuntimeMissing(DeviceNotReady):
    """The device lacks the runtime, the interpreter or the program that its file asks for."""


class AgentOutputError(ProxylessError):
    """The device sent something that the protocol does not allow. Nothing of it was stored."""

    exit_code = 1


class AgentVersionError(ProxylessError):
    """Host and agent are not of the very same version."""

    exit_code = 3


class AgentFailed(DeviceNotReady):
    """The agent ended, or never began, without having done its jobs."""


_NAMED = 3


class ModelsFailed(ProxylessError):
    """Some models could not be timed. Every other model was yielded before this was raised."""

    exit_code = 3

    def __init__(self, failures: Mapping[str, str]) -> None:
        self.failures = dict(failures)
        count, reasons = len(self.failures), set(self.failures.values())
        if count > 1 and len(reasons) == 1:
            names = ", ".join(sorted(self.failures)[:_NAMED]) + (", ..." if count > _NAMED else "")
            super().__init__(f"{count} models ({names}) could not be timed for one reason: {reasons.pop().strip()}")
            return
        lines = [f"  {model_id}: {reason}" for model_id, reason in sorted(self.failures.items())]
        super().__init__(
            f"{count} {'model' if count == 1 else 'models'} could not be timed; any others were.\n"
            + "\n".join(lines)
            + "\nLeave these models out, or run one alone to see what the runtime says about it."
        )
