"""Architecture: one choice per position of a named space, as a JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_model.network import NetworkSpec
from search.errors import SpaceError
from search.files import read_json, write_json
from search.space import Choices, SearchSpace


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One network of a space. The hash ties it to exactly that space."""

    space: str
    space_hash: str
    choices: Choices
    labels: tuple[str, ...]

    @classmethod
    def of(cls, space: SearchSpace, choices: Choices) -> Architecture:
        return cls(space=space.name, space_hash=space.hash, choices=choices, labels=space.labels(choices))

    def network(self, space: SearchSpace, name: str = "derived") -> NetworkSpec:
        """The network, when ``space`` is the one that this architecture was derived in, or has it as one of its widths.

        Raises:
            SpaceError: another space, or another version of it.
        """
        for width in space.widths:
            if width.hash == self.space_hash:
                return width.network(self.choices, name)
        raise SpaceError(
            f"This architecture belongs to space {self.space!r} ({self.space_hash}), not to {space.name!r} "
            f"({space.hash}). Use the space, image size and classes it was derived with."
        )


def write_architecture(path: Path, architecture: Architecture) -> None:
    write_json(
        path,
        {
            "schema": 1,
            "space": architecture.space,
            "space_hash": architecture.space_hash,
            "choices": list(architecture.choices),
            "labels": list(architecture.labels),
        },
    )


def read_architecture(path: Path) -> Architecture:
    """Read an architecture.

    Raises:
        SpaceError: not a file that ``write_architecture`` wrote.
    """
    data: dict[str, Any] = read_json(path)
    if data.get("schema") != 1:
        raise SpaceError(f"{path} has schema {data.get('schema')!r}; this version reads architecture schema 1.")
    try:
        return Architecture(
            space=data["space"],
            space_hash=data["space_hash"],
            choices=tuple(int(choice) for choice in data["choices"]),
            labels=tuple(data["labels"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpaceError(f"{path} is not an architecture file ({json.dumps(data)[:120]}): {error}") from error
