"""The small space: MBConv networks for images of 16 to 64 pixels."""

from __future__ import annotations

from search.errors import SpaceError
from search.space import SearchSpace
from search.spaces.ends import classifier_head, stem_conv
from search.spaces.mbconv_positions import MBConvMenu, Stage, mbconv_positions

STEM_WIDTH = 16
HEAD_WIDTH = 192
STAGES = (
    Stage(width=24, depth=3, stride=2),
    Stage(width=40, depth=3, stride=2),
    Stage(width=80, depth=3, stride=1),
)
MENU = MBConvMenu()
SMALLEST_PIXELS, LARGEST_PIXELS = 16, 64


def small_space(image_shape: tuple[int, int, int], class_count: int) -> SearchSpace:
    """Nine positions, kernels 3, 5, 7 with expansions 3 and 6, skip where legal: 7**6 * 6**3 = 25,412,184 networks.

    Args:
        image_shape: (channels, height, width) of the images.
        class_count: outputs of the classifier.
    Raises:
        SpaceError: images for which three halvings leave nothing, or that ask for a larger space.
    """
    _, height, width = image_shape
    if not SMALLEST_PIXELS <= min(height, width) <= max(height, width) <= LARGEST_PIXELS:
        raise SpaceError(
            f"The small space takes images of {SMALLEST_PIXELS} to {LARGEST_PIXELS} pixels a side, not "
            f"{height}x{width}. Resize them with --image-size, or choose the space 'imagenet'."
        )
    stem = stem_conv(image_shape, width=STEM_WIDTH, stride=2, activation="relu6")
    positions, last_width, size = mbconv_positions(
        STAGES, in_channels=STEM_WIDTH, size=(stem.out_height, stem.out_width), menu=MENU
    )
    head = classifier_head(last_width, size, width=HEAD_WIDTH, class_count=class_count, activation="relu6")
    return SearchSpace(name="small", stem=(("stem", stem),), positions=positions, head=head)
