"""The transports, one module each; ``open_transport`` picks by the device file's kind."""

from __future__ import annotations

from profiler_agent.device import Link, LocalLink
from profiler_agent.errors import ConfigError
from profiler_agent.transport import Transport


def open_transport(link: Link) -> Transport:
    """The transport of a device file's ``transport`` section; a library it needs is loaded only now."""
    match link:
        case LocalLink():
            from profiler_agent.transports.local import LocalTransport  # noqa: PLC0415

            return LocalTransport()
        case _:
            raise ConfigError(f"transport.kind {link.kind!r} is not yet in this version; use 'local'.")
