"""Checkpoints: tensors and numbers only, written beside and renamed, refused when they belong to another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from search.errors import CheckpointError
from search.files import replacing
from search.identity import Identity

SCHEMA = 1
LONGEST_SHOWN = 80


def write_checkpoint(path: Path, identity: Identity, state: dict[str, Any]) -> None:
    """Save ``state`` under what it belongs to (space, data, settings, ...)."""
    saved = {"schema": SCHEMA, "identity": dict(identity.whole), "parts": dict(identity.parts), "state": state}
    with replacing(path) as file:
        torch.save(saved, file)


def read_checkpoint(path: Path, identity: Identity) -> dict[str, Any] | None:
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
    if not isinstance(saved, dict) or "schema" not in saved:
        raise CheckpointError(f"{path} is no checkpoint of a search or a training. Remove it to start this step again.")
    if saved["schema"] != SCHEMA:
        raise CheckpointError(f"{path} has schema {saved['schema']!r}; this version reads {SCHEMA}.")
    kept: Mapping[str, str] = saved.get("parts", {})
    _require_same(path, kept, {name: value for name, value in identity.parts.items() if name in kept})
    _require_same(path, saved["identity"], identity.whole)
    state: dict[str, Any] = saved["state"]
    return state


def _require_same(path: Path, kept: Mapping[str, str], asked: Mapping[str, str]) -> None:
    for name, value in asked.items():
        if kept.get(name) != value:
            raise CheckpointError(
                f"{path} belongs to another run: {_difference(name, kept.get(name), value)}. Choose another --out, or "
                f"remove the file to start this step again."
            )


def _difference(name: str, kept: str | None, asked: str) -> str:
    if kept is None:
        return f"it does not tell its {name}"
    if max(len(kept), len(asked)) > LONGEST_SHOWN:
        return f"it has other {name}"
    return f"its {name} is {kept}, this one's is {asked}"
