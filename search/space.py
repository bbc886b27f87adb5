"""SearchSpace: positions with candidate ops, as pure data that counts, samples and builds networks."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from latency_model.network import NetworkSpec
from latency_model.op_json import op_to_json
from latency_model.ops import IdentitySpec, OpSpec, ZeroSpec
from latency_model.wiring import Wiring
from search.errors import SpaceError

Choices = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One op that a position may become, under the short label that people see (``k5 e3``, ``skip``)."""

    label: str
    op: OpSpec


@dataclass(frozen=True, kw_only=True)
class Position:
    """One place of the network and its candidates, all of the same input and output shape.

    ``has_shortcut``: the input is added to whatever the chosen candidate gives; only then may a candidate be Zero.
    """

    name: str
    stage: int
    candidates: tuple[Candidate, ...]
    has_shortcut: bool = False

    def __post_init__(self) -> None:
        if not self.candidates:
            raise SpaceError(f"Position {self.name!r} has no candidates.")
        first = self.candidates[0].op
        for candidate in self.candidates:
            op = candidate.op
            if (op.input_shape, op.output_shape) != (first.input_shape, first.output_shape):
                raise SpaceError(
                    f"Position {self.name!r}: {candidate.label!r} maps {op.input_shape} to {op.output_shape}, but "
                    f"{self.candidates[0].label!r} maps {first.input_shape} to {first.output_shape}."
                )
            if isinstance(op, ZeroSpec) and not self.has_shortcut:
                raise SpaceError(f"Position {self.name!r} offers Zero without a shortcut; the network would be cut.")
            if getattr(op, "has_residual", False) != (self.has_shortcut and not isinstance(op, ZeroSpec)):
                raise SpaceError(
                    f"Position {self.name!r}: has_shortcut={self.has_shortcut}, but {candidate.label!r} says "
                    f"otherwise in has_residual."
                )

    def network_op(self, choice: int) -> OpSpec:
        """The op as it stands in the derived network: Zero beside a shortcut is an identity there."""
        op = self.candidates[choice].op
        if isinstance(op, ZeroSpec):
            return IdentitySpec(
                batch=op.batch,
                dtype=op.dtype,
                in_channels=op.in_channels,
                in_height=op.in_height,
                in_width=op.in_width,
            )
        return op


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Fixed stem, searched positions, fixed head.

    A chain, unless there is ``wiring``: it then lists positions and ``joints`` (fixed layers between them) in the order
    in which they run, each with the layers that it takes.

    ``narrower``: the same space at smaller widths, narrowest first, which a search may choose as well. They share the
    positions and the labels; their channels are the first ones of this space's, whose weights they use.
    """

    name: str
    stem: tuple[tuple[str, OpSpec], ...]
    positions: tuple[Position, ...]
    head: tuple[tuple[str, OpSpec], ...]
    joints: tuple[tuple[str, OpSpec], ...] = ()
    wiring: Wiring = ()
    narrower: tuple[SearchSpace, ...] = ()

    def __post_init__(self) -> None:
        positions, joints = ([part.name for part in self.positions], [name for name, _ in self.joints])
        wired = [name for name, _ in self.wiring]
        if (self.wiring or joints) and (
            sorted(wired) != sorted([*positions, *joints])
            or [name for name in wired if name not in joints] != positions
        ):
            raise SpaceError(
                f"The wiring of space {self.name!r} must name every joint and position once, the positions in order."
            )
        self.network((0,) * len(self.positions))
        for space in self.narrower:
            if space.narrower or self.wiring or _outline(space) != _outline(self):
                raise SpaceError(
                    f"Space {space.name!r} is no narrower {self.name!r}: both must be chains of the same positions, "
                    f"shortcuts and labels. Where rounding makes two stages equally wide, as in very narrow spaces, a "
                    f"shortcut appears: leave that width out."
                )

    @property
    def widths(self) -> tuple[SearchSpace, ...]:
        """The spaces of every width, narrowest first and this one, without its ``narrower``, last."""
        return (*self.narrower, replace(self, narrower=()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.stem[0][1].input_shape

    @property
    def fixed_layers(self) -> tuple[tuple[str, OpSpec], ...]:
        """The layers of every network of the space, whatever is chosen."""
        return self.stem + self.joints + self.head

    @property
    def hash(self) -> str:
        """Changes when any op, label or order of the space changes; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(space_to_json(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def candidate_counts(self) -> tuple[int, ...]:
        return tuple(len(position.candidates) for position in self.positions)

    def network_count(self) -> int:
        return math.prod(self.candidate_counts) * len(self.widths)

    def check(self, choices: Sequence[int]) -> Choices:
        """The choices, when they name one candidate for each position.

        Raises:
            SpaceError: too few, too many, or out of range.
        """
        if len(choices) != len(self.positions):
            raise SpaceError(f"{len(choices)} choices for the {len(self.positions)} positions of space {self.name!r}.")
        for position, choice in zip(self.positions, choices, strict=True):
            if not 0 <= choice < len(position.candidates):
                raise SpaceError(
                    f"Choice {choice} at position {position.name!r}; it has candidates 0 to "
                    f"{len(position.candidates) - 1}."
                )
        return tuple(choices)

    def labels(self, choices: Sequence[int]) -> tuple[str, ...]:
        pairs = zip(self.positions, self.check(choices), strict=True)
        return tuple(position.candidates[choice].label for position, choice in pairs)

    def choices_for(self, labels: Sequence[str]) -> Choices:
        """The choices that carry these labels."""
        choices = []
        for position, label in zip(self.positions, labels, strict=True):
            names = [candidate.label for candidate in position.candidates]
            if label not in names:
                raise SpaceError(f"Position {position.name!r} has no candidate {label!r}; it has {', '.join(names)}.")
            choices.append(names.index(label))
        return tuple(choices)

    def network(self, choices: Sequence[int], name: str = "derived") -> NetworkSpec:
        """The whole network that these choices make."""
        searched = tuple(
            (position.name, position.network_op(choice))
            for position, choice in zip(self.positions, self.check(choices), strict=True)
        )
        if self.wiring:
            body = dict(self.joints + searched)
            searched = tuple((layer, body[layer]) for layer, _ in self.wiring)
        return NetworkSpec(name=name, layers=self.stem + searched + self.head, wiring=self.wiring)

    def sample(self, rng: random.Random) -> Choices:
        """A uniformly random network."""
        return tuple(rng.randrange(count) for count in self.candidate_counts)

    def unique_ops(self) -> tuple[OpSpec, ...]:
        """Each op that costs time, at any width, once, in order of first appearance: what a full profile measures."""
        ops = []
        for space in self.widths:
            ops += [op for _, op in space.stem]
            ops += [candidate.op for position in space.positions for candidate in position.candidates]
            ops += [op for _, op in space.joints + space.head]
        return tuple(op for op in dict.fromkeys(ops) if not isinstance(op, ZeroSpec | IdentitySpec))


def _outline(space: SearchSpace) -> tuple[tuple[str, bool, tuple[str, ...]], ...]:
    """What spaces of different widths share."""
    return tuple(
        (position.name, position.has_shortcut, tuple(candidate.label for candidate in position.candidates))
        for position in space.positions
    )


def space_to_json(space: SearchSpace) -> dict[str, Any]:
    """Everything that the space offers, as plain JSON (its hash is made from this)."""

    def layers(named: tuple[tuple[str, OpSpec], ...]) -> list[dict[str, Any]]:
        return [{"name": name, **op_to_json(op)} for name, op in named]

    wired = {
        "joints": layers(space.joints),
        "wiring": [[name, list(sources)] for name, sources in space.wiring],
    }
    return (
        (wired if space.wiring else {})
        | {
            "schema": 1,
            "name": space.name,
            "stem": layers(space.stem),
            "positions": [
                {
                    "name": position.name,
                    "stage": position.stage,
                    "has_shortcut": position.has_shortcut,
                    "labels": [candidate.label for candidate in position.candidates],
                    "candidates": [op_to_json(candidate.op) for candidate in position.candidates],
                }
                for position in space.positions
            ],
            "head": layers(space.head),
        }
        | ({"narrower": [space_to_json(narrower) for narrower in space.narrower]} if space.narrower else {})
    )
