"""Errors of the latency model."""

from __future__ import annotations

from profiler_agent.errors import ProxylessError


class LoweringError(ProxylessError, ValueError):
    """A network that cannot be written as a model file, or weights that do not fit it."""


class ModelFileError(ProxylessError, OSError):
    """A model file could not be written."""

    exit_code = 1
