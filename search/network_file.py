"""Reads a network as a run writes it under networks/."""

from __future__ import annotations

from pathlib import Path

from latency_model.network import NetworkSpec, network_from_json
from search.errors import RunFolderError
from search.files import read_json


def read_network_file(path: Path) -> NetworkSpec:
    """The network in a JSON file.

    Raises:
        RunFolderError: no such file, or no network in it.
    """
    data = read_json(path)
    try:
        return network_from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{path} holds no network ({type(error).__name__}: {error}); give one such as RUN/networks/derived.json. A "
            f"run's own that was damaged: remove it and run proxyless derive RUN."
        ) from error
