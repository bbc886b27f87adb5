"""Leaving nothing of ours on a device."""

from __future__ import annotations

from profiler_agent.deploy import DeviceFolder
from profiler_agent.device import Device
from profiler_agent.errors import DeviceBusy, WrongDevice
from profiler_agent.facts import fingerprint_of, identify
from profiler_agent.remote_shell import RemoteShell
from profiler_agent.transport import Transport
from profiler_agent.transports import open_transport


def clean_device(device: Device, *, even_if_held: bool = False, transport: Transport | None = None) -> str:
    """Stop our agents on the device and remove our folder there; returns its path.

    Raises:
        DeviceBusy: another host has a run there and looks after it, and ``even_if_held`` is not set.
        WrongDevice: the device file pins another one.
    """
    link = transport or open_transport(device.transport)
    try:
        shell = RemoteShell(link, reconnect_limit_s=device.guard.lease_s)
        found = fingerprint_of(identify(shell))
        if device.fingerprint is not None and found != device.fingerprint:
            raise WrongDevice(
                f"{device.name} has the fingerprint {found}, but {device.source_file} names {device.fingerprint}. "
                "Nothing was removed. Plug in the right device, or correct the fingerprint."
            )
        folder = DeviceFolder(shell, device.directory)
        if not even_if_held and folder.is_held():
            raise DeviceBusy(
                f"Another host times models on {device.name} and looked after them a moment ago. Nothing was removed. "
                f"Wait for it or stop it, or run `proxyless device clean --force {device.source_file}`, which ends its "
                "run."
            )
        folder.stop_agents()
        folder.remove()
        return folder.path
    finally:
        link.close()
