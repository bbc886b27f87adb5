"""Errors that a person sees: each says what happened, why, and how to mend it."""

from __future__ import annotations


class ProxylessError(Exception):
    """What every error of ours derives from; the command line prints it and exits with ``exit_code``."""

    exit_code: int = 2
