"""JSON files of a run: written beside and renamed, events appended and flushed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from search.errors import RunFolderError

NUMBER = (int, float)


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` so that a reader finds the old file or the whole new one, never a part."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` once all of it is on the disk; renamed earlier, it could be empty after a
    power cut. Of processes that write it at once, the last one's stays; after an error, the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunFolderError: there is none, or it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} is not there; run the step that writes it first.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path} is not JSON ({error}); remove it and run its step again.") from error


def read_record(path: Path, fields: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Read a JSON object that must hold these fields.

    Args:
        fields: what kind of value each must be.
    Raises:
        RunFolderError: there is no such file, or it holds something else.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise RunFolderError(f"{path} holds no JSON object; remove it and run its step again.")
    if wrong := [name for name, kind in fields.items() if not isinstance(data.get(name), kind)]:
        raise RunFolderError(
            f"{path} was changed or damaged: {', '.join(wrong)} is missing in it or of another kind. Remove it and run "
            f"its step again."
        )
    return data


def append_json_line(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data, allow_nan=False) + "\n")


def read_json_lines(path: Path) -> Iterator[Any]:
    """Each whole line; a torn last line, left by a killed run, is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def keep_json_lines_before(path: Path, step: int) -> None:
    """Drop the events from ``step`` on: a resumed run writes them again, each once."""
    if not path.exists():
        return
    write_text(path, "".join(json.dumps(event) + "\n" for event in read_json_lines(path) if event["step"] < step))
