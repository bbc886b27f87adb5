"""What a mixed op keeps in an architecture step, and the gradients that it gives."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from search import supernet as supernet_module
from search.gated_paths import MANY, gated
from search.modules import Zero
from search.paths import PositionPaths
from search.supernet import SuperNet, build_supernet


@pytest.fixture
def candidates(space):
    """Those of the position that has a Zero among its three."""
    mixed_op = SuperNet(space, torch.Generator().manual_seed(1)).double().mixed_ops[1]
    return mixed_op.requires_grad_(False).candidates


@pytest.fixture
def many(candidates):
    """So many that the active one is run again: each of the three twice."""
    assert len(candidates) < MANY < 2 * len(candidates)
    return nn.ModuleList([*candidates, *candidates])


@pytest.fixture
def x():
    return torch.randn(5, 6, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.double).requires_grad_()


def with_gates(active: int, *inactive: int) -> PositionPaths:
    gates = torch.zeros(1 + len(inactive), dtype=torch.double)
    gates[0] = 1.0
    return PositionPaths(active, inactive, gates.requires_grad_())


def kept_storages(x, candidates, paths) -> set[int]:
    kept: set[int] = set()

    def keep(tensor):
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = gated(x, candidates, paths)
    assert y.requires_grad
    return kept


def test_full_gates_of_many_paths_keep_nothing_but_what_goes_into_the_position(many, x):
    assert not isinstance(many[0], Zero)
    assert kept_storages(x, many, with_gates(0, *range(1, 6))) == {x.untyped_storage().data_ptr()}


@pytest.mark.parametrize("inactive", [(1,), (1, 2)])
def test_few_paths_keep_what_the_active_one_needs_for_its_gradient(candidates, x, inactive):
    assert len(kept_storages(x, candidates, with_gates(0, *inactive))) > 3


DRAWN = [p for count in (2, 3) for p in itertools.permutations(range(3), count)]
DRAWN += [(first, *(index for index in range(6) if index != first)) for first in range(6)]


@pytest.mark.parametrize("drawn", DRAWN)
def test_gates_and_input_have_the_gradient_of_the_weighted_sum_of_all_drawn_paths(many, x, drawn):
    weight = torch.randn(5, 6, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    paths = with_gates(*drawn)
    y = gated(x, many, paths)
    found = torch.autograd.grad((y * weight).sum() + x.sum(), [paths.gates, x])
    gates = paths.gates.detach().clone().requires_grad_()
    whole = sum(gate * many[index](x) for gate, index in zip(gates, drawn))
    expected = torch.autograd.grad((whole * weight).sum() + x.sum(), [gates, x])
    assert torch.allclose(y, whole, atol=1e-12)
    for one, other in zip(found, expected):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-12)


def test_weights_that_are_not_frozen_have_their_gradient_beside_many_paths_too(many, x):
    many.requires_grad_(True)
    weights = list(many[0].parameters())
    expected = torch.autograd.grad(many[0](x).square().sum(), weights)
    found = torch.autograd.grad(gated(x, many, with_gates(0, *range(1, 6))).square().sum(), weights)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("inactive", [(0, 2), (0, 2, 3, 4, 5)])
def test_an_input_without_gradient_gives_the_gates_theirs(many, x, inactive):
    both = []
    for given in (x, x.detach()):
        paths = with_gates(1, *inactive)
        both.append(torch.autograd.grad(gated(given, many, paths).square().sum(), paths.gates)[0])
    assert torch.allclose(*both)


def test_a_built_supernet_is_the_same_in_channels_last_and_hands_back_what_it_no_longer_needs(space, monkeypatch):
    handed_back = []
    monkeypatch.setattr(supernet_module, "hand_back_freed_memory", lambda: handed_back.append(True))
    built = build_supernet(space, torch.Generator().manual_seed(4))
    plain = SuperNet(space, torch.Generator().manual_seed(4))
    for one, other in zip(built.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.ndim != 4 or one.is_contiguous(memory_format=torch.channels_last)
    assert handed_back == [True]
