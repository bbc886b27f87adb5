"""Finds a space by its name, or reads the user's own from a YAML file."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from search.errors import SpaceError
from search.space import SearchSpace
from search.spaces.cifar_tree import cifar_tree_space
from search.spaces.imagenet import imagenet_space, imagenet_widths_space
from search.spaces.nas_bench_macro import nas_bench_macro_space
from search.spaces.small import small_space
from search.spaces.space_file import read_space_file

SPACES: dict[str, Callable[[tuple[int, int, int], int], SearchSpace]] = {
    "small": small_space,
    "imagenet": imagenet_space,
    "imagenet-widths": imagenet_widths_space,
    "cifar-tree": cifar_tree_space,
    "nas-bench-macro": nas_bench_macro_space,
}
_WIDE = re.compile(r"imagenet-w(?P<widths>\d+(\.\d+)?(,\d+(\.\d+)?)*)")
_TREE = re.compile(r"cifar-tree-b(?P<blocks>\d+)-f(?P<filters>\d+)")


def load_space(name: str, image_shape: tuple[int, int, int], class_count: int) -> SearchSpace:
    """The space called ``name``, or described by the YAML file ``name``, for such images and classes.

    ``imagenet-w1.35`` is the ImageNet space at 1.35 times its width, which is how the paper chose widths;
    ``imagenet-w1,1.12,1.35`` searches the width as well, as does ``imagenet-widths`` with those of the paper;
    ``cifar-tree-b2-f96`` is the tree space with B = 2 blocks a stage and F = 96 filters.

    Raises:
        SpaceError: no such space or file; the nearest name is offered.
    """
    if name in SPACES:
        return SPACES[name](image_shape, class_count)
    if wide := _WIDE.fullmatch(name):
        return imagenet_widths_space(image_shape, class_count, [float(width) for width in wide["widths"].split(",")])
    if tree := _TREE.fullmatch(name):
        return cifar_tree_space(image_shape, class_count, blocks=int(tree["blocks"]), filters=int(tree["filters"]))
    if name.endswith((".yaml", ".yml")):
        return read_space_file(Path(name), image_shape, class_count)
    nearest = get_close_matches(name, SPACES, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise SpaceError(f"No space is called {name!r}; known are {', '.join(SPACES)}, or a .yaml file of yours.{hint}")
