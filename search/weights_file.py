"""Weights as safetensors: written beside and renamed, and readable to whom other files of a run are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write ``tensors`` so that a reader finds the old file or the whole new one, never a part.

    The library's own ``save_file`` would keep the file to its owner (mode 600), whatever the umask says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(save({name: value.contiguous() for name, value in tensors.items()}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
