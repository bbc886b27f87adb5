"""What can keep a report from being written."""

from __future__ import annotations

from profiler_agent.errors import ProxylessError


class ReportError(ProxylessError, ValueError):
    """A folder that is no run, or a file in it that cannot be read."""
