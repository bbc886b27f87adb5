"""Networks that only this room can build for the verbs of `latency_model`: those of the zoo, and architecture files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from latency_model.network import NetworkSpec, with_batch
from latency_model.ops import Shape
from search.architecture import read_architecture
from search.errors import RunFolderError, SpaceError
from search.zoo import build_network

IMAGES: Shape = (1, 3, 224, 224)
CLASS_COUNT = 1000


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What an architecture was derived for; the file itself names only its space."""

    space: str
    input_shape: Shape
    class_count: int


def resolve_network(source: str, input_shape: Shape | None) -> NetworkSpec | None:
    """The network behind a name of the zoo or an architecture file; ``None`` where ``source`` is neither.

    Args:
        input_shape: (batch, channels, height, width) of the images. Without it: what the run beside an architecture
            file was for, else 224 pixels of ImageNet.
    Raises:
        SpaceError: a name that the zoo lacks, images that do not fit, or an architecture of a space that cannot be
            told from the file and what lies beside it.
    """
    path = Path(source)
    if path.is_file():
        return _network_of_architecture(path, input_shape) if _is_architecture(path) else None
    if path.exists() or path.suffix or len(path.parts) != 1:
        return None
    batch, *image = _images(source, input_shape or IMAGES)
    try:
        return with_batch(build_network(source, (image[0], image[1], image[2]), CLASS_COUNT), batch)
    except SpaceError as error:
        raise SpaceError(f"{source} is no file here, and as a name: {error}") from error


def _is_architecture(path: Path) -> bool:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "space_hash" in data and "choices" in data


def _network_of_architecture(path: Path, input_shape: Shape | None) -> NetworkSpec:
    from search.spaces.registry import load_space  # noqa: PLC0415 - pydantic is slow to import

    architecture = read_architecture(path)
    origin = _origin_in_run(path.parent) or _Origin(
        space=architecture.space, input_shape=IMAGES, class_count=CLASS_COUNT
    )
    batch, *image = _images(str(path), input_shape or origin.input_shape)
    try:
        space = load_space(origin.space, (image[0], image[1], image[2]), origin.class_count)
        network = architecture.network(space)
    except (SpaceError, OSError) as error:
        raise SpaceError(
            f"{path} holds only choices in the space {architecture.space!r}; in {origin.space!r} for images of "
            f"{'x'.join(map(str, image))} and {origin.class_count} classes they make no network: {error} Give the "
            "network itself, RUN/networks/derived.json, or the architecture file of a whole run folder."
        ) from error
    return with_batch(network, batch)


def _origin_in_run(folder: Path) -> _Origin | None:
    """Read from the run's derived network, not from its images: these may be many, or gone."""
    from search.run import open_run  # noqa: PLC0415 - only architecture files need it

    try:
        run = open_run(folder)
        network = run.read_network("derived")
    except RunFolderError:
        return None
    return _Origin(space=run.settings.space, input_shape=network.input_shape, class_count=network.output_shape[1])


def _images(source: str, shape: Shape) -> Shape:
    if len(shape) != len(IMAGES):
        raise SpaceError(
            f"{source} takes images, but --input-shape {','.join(map(str, shape))} has {len(shape)} numbers: write "
            "batch, channels, height, width, such as 1,3,224,224."
        )
    return shape
