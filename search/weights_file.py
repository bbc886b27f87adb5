"""Weights as safetensors: written beside and renamed, readable to whom other files of a run are; read with a mend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from search.errors import RunFolderError
from search.files import replacing


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write ``tensors`` so that a reader finds the old file or the whole new one, never a part.

    The library's own ``save_file`` would keep the file to its owner (mode 600), whatever the umask says.
    """
    with replacing(path) as file:
        file.write(save({name: value.contiguous() for name, value in tensors.items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a training's file.

    Raises:
        RunFolderError: there is no such file, or it was damaged.
    """
    if not path.exists():
        raise RunFolderError(f"{path} is not there; train the network first (proxyless train).")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise RunFolderError(
            f"{path} is damaged ({error}). Remove {path.parent} and train the network again."
        ) from error
