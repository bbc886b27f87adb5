"""One image file as eight-bit pixels, grey or colour; what has no such meaning is told, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

_GREY_MODES = frozenset({"1", "L", "LA"})
_TRANSPARENT_MODES = frozenset({"RGBA", "LA", "PA"})
_DEEP_GREY_MODES = frozenset({"I;16", "I;16B", "I;16L", "I"})
_WHITE_8, _WHITE_16 = 2**8 - 1, 2**16 - 1


@dataclass(frozen=True)
class DecodedImage:
    """Pixels (channels, height, width); ``deep_white`` is the largest value of an image of 16 bits, else None."""

    pixels: NDArray[np.uint8]
    deep_white: int | None


def decode_image(path: Path, image_size: int | None) -> DecodedImage | str:
    """The image, or the reason why it cannot be read.

    Args:
        image_size: it is cut to a centred square and scaled to this side; None keeps the size it has.
    """
    try:
        with Image.open(path) as opened:
            if image_size is not None:
                opened.draft(None, (2 * image_size, 2 * image_size))  # lets JPEG decode at a fraction of its size
            upright = ImageOps.exif_transpose(opened)
            deep_white = int(np.asarray(upright).max()) if upright.mode in _DEEP_GREY_MODES else None
            image = _as_grey_or_rgb(upright)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{type(error).__name__}: {error}".replace(str(path), path.name)
    if image_size is not None and image.size != (image_size, image_size):
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    is_grey = pixels.ndim == 2  # noqa: PLR2004 - height and width alone
    planes = pixels[np.newaxis] if is_grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return DecodedImage(planes, deep_white)


def _as_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Eight bits a channel; what is transparent becomes white.

    Raises:
        ValueError: nobody can tell which of its values is white.
    """
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers; save it with 8 or 16 bits")
    if image.mode in _DEEP_GREY_MODES:
        return _from_sixteen_bits(np.asarray(image))
    is_grey = image.mode in _GREY_MODES
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("L" if is_grey else "RGB")


def _from_sixteen_bits(values: NDArray[np.integer]) -> Image.Image:
    lowest, highest = int(values.min()), int(values.max())
    has_more_bits = values.dtype.itemsize > np.dtype(np.uint16).itemsize
    if lowest < 0 or highest > _WHITE_16 or (has_more_bits and 0 < highest <= _WHITE_8):
        raise ValueError(f"its 32-bit values go from {lowest} to {highest}; save it with 8 or 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))
