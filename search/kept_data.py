"""Which images a run began with: kept in its folder, so that no later step takes others for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import RunFolderError
from search.files import read_record, write_json

if TYPE_CHECKING:
    from search.data.image_data import ImageData


def require_same_data(path: Path, data: ImageData, source: str) -> None:
    """Keep what names the images' content in the file ``path``, or hold it against what was kept there.

    A test part that is carved from other images holds some that networks were trained on: their accuracy would be too
    high, and nothing would say so.

    Raises:
        RunFolderError: the images, their classes or their split are others; or the file was damaged.
    """
    now = {"hash": data.hash, "images": f"{len(data.train_labels)} training and {len(data.test_labels)} test images"}
    if not path.exists():
        write_json(path, now)
        return
    then = read_record(path, {"hash": str, "images": str})
    if then["hash"] != data.hash:
        raise RunFolderError(
            f"The images of {source} are not those that the run in {path.parent} began with: {then['images']} then, "
            f"{now['images']} now, and some of them may have been trained on and be judged by now. Put the images back "
            "as they were, or begin a new run folder with --out."
        )
