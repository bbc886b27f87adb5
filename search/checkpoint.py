"""Checkpoints: tensors and numbers only, written beside and renamed, refused when they belong to another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from search.errors import CheckpointError

SCHEMA = 1


def write_checkpoint(path: Path, identity: dict[str, str], state: dict[str, Any]) -> None:
    """Save ``state`` under what it belongs to (space, data, settings, ...)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    torch.save({"schema": SCHEMA, "identity": identity, "state": state}, beside)
    beside.replace(path)


def read_checkpoint(path: Path, identity: dict[str, str]) -> dict[str, Any] | None:
    """The state saved at ``path``; None when there is none.

    Raises:
        CheckpointError: unreadable, of another schema, or of a run that differs; what differs is named.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Remove it to start this step again.") from error
    if saved.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} has schema {saved.get('schema')!r}; this version reads {SCHEMA}.")
    for name, value in identity.items():
        if saved["identity"].get(name) != value:
            raise CheckpointError(
                f"{path} belongs to another run: its {name} is {saved['identity'].get(name)!r}, this one's is "
                f"{value!r}. Choose another --out, or remove the file to start this step again."
            )
    state: dict[str, Any] = saved["state"]
    return state
