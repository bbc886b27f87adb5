"""The transports, one module each; ``open_transport`` picks by the device file's kind."""

from __future__ import annotations

from profiler_agent.device import AdbLink, Link, LocalLink, SshLink
from profiler_agent.transport import Transport


def open_transport(link: Link) -> Transport:
    """The transport of a device file's ``transport`` section; a library it needs is loaded only now."""
    match link:
        case LocalLink():
            from profiler_agent.transports.local import LocalTransport  # noqa: PLC0415

            return LocalTransport()
        case AdbLink():
            from profiler_agent.transports.adb import AdbTransport  # noqa: PLC0415

            return AdbTransport(link)
        case SshLink():
            from profiler_agent.transports.ssh import SshTransport  # noqa: PLC0415

            return SshTransport(link)
