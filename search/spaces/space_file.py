"""Reads a space of the user's own from a YAML file of a dozen lines."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from latency_model.ops import Activation
from search.errors import SpaceError
from search.space import SearchSpace
from search.spaces.ends import classifier_head, stem_conv
from search.spaces.mbconv_positions import MBConvMenu, Stage, mbconv_positions


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"{size} is even; a kernel has a middle: use {size - 1} or {size + 1}")
    return size


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"{list(values)} names one twice; candidates must differ")
    return values


Positive = Annotated[int, Field(ge=1)]
KernelSize = Annotated[Positive, AfterValidator(_odd)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _StemFile(_Strict):
    width: Positive
    stride: Positive = 2
    kernel_size: KernelSize = 3


class _StageFile(_Strict):
    width: Positive
    depth: Positive
    stride: Positive = 1


class _SpaceFile(_Strict):
    name: Annotated[str, Field(min_length=1)]
    stem: _StemFile
    stages: Annotated[tuple[_StageFile, ...], Field(min_length=1)]
    kernel_sizes: Annotated[tuple[KernelSize, ...], Field(min_length=1), AfterValidator(_distinct)] = (3, 5, 7)
    expansions: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(_distinct)] = (3, 6)
    skip: bool = True
    activation: Activation = "relu6"
    head_width: Positive = 1280


def read_space_file(path: Path, image_shape: tuple[int, int, int], class_count: int) -> SearchSpace:
    """The space that a YAML file describes (see ``search/README.md`` for one), for such images and classes.

    Raises:
        SpaceError: no such file, no YAML, an unknown key, or a value out of range; the key is named.
    """
    try:
        described = _SpaceFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SpaceError(f"The space file {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        told = [item for item in error.errors() if not _follows(item, error.errors())]
        raise SpaceError("\n".join(f"{path}: {_explained(item)}" for item in told)) from error
    return _space(described, image_shape, class_count)


def _follows(item: ErrorDetails, all_items: list[ErrorDetails]) -> bool:
    """Whether a list is called too short only because what it holds was refused."""
    inside = [other for other in all_items if other["loc"][:-1] and other["loc"][: len(item["loc"])] == item["loc"]]
    return item["type"] == "too_short" and len(inside) > 0


def _explained(item: ErrorDetails) -> str:
    """One thing that is wrong in a space file, with the keys that its place may have."""
    *parents, key = item["loc"] or ("the file",)
    where = ".".join(map(str, item["loc"])) or "the file"
    sections: dict[str, type[_Strict]] = {"stem": _StemFile, "stages": _StageFile}
    known = list(sections.get(str(parents[0]) if parents else "", _SpaceFile).model_fields)
    if item["type"] == "extra_forbidden":
        close = get_close_matches(str(key), known, n=1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        return f"unknown key {where!r}{guess}; known here are {', '.join(known)}."
    if item["type"] == "model_type":
        return f"{where} holds no keys; known here are {', '.join(known)}."
    if item["type"] == "missing":
        return f"{where} is missing; give it."
    return f"{where}: {item['msg'].removeprefix('Value error, ')}."


def _space(described: _SpaceFile, image_shape: tuple[int, int, int], class_count: int) -> SearchSpace:
    stem = stem_conv(
        image_shape,
        width=described.stem.width,
        stride=described.stem.stride,
        kernel_size=described.stem.kernel_size,
        activation=described.activation,
    )
    positions, last_width, size = mbconv_positions(
        [Stage(width=stage.width, depth=stage.depth, stride=stage.stride) for stage in described.stages],
        in_channels=described.stem.width,
        size=(stem.out_height, stem.out_width),
        menu=MBConvMenu(
            kernel_sizes=described.kernel_sizes,
            expansions=described.expansions,
            skip=described.skip,
            activation=described.activation,
        ),
    )
    head = classifier_head(
        last_width,
        size,
        width=described.head_width,
        class_count=class_count,
        activation=described.activation,
    )
    return SearchSpace(name=described.name, stem=(("stem", stem),), positions=positions, head=head)
