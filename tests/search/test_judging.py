"""Held-out scores: the same whether or not networks share what their first positions put out."""

from __future__ import annotations

import random

import pytest
import torch

from search.judging import HeldOutJudge
from search.paths import fixed_paths
from search.spaces.cifar_tree import cifar_tree_space
from search.spaces.small import small_space
from search.supernet import SuperNet

GIBIBYTE = 2**30


def made_up_batches(shape, count=2):
    generator = torch.Generator().manual_seed(7)
    return [
        (torch.randn(8, *shape, generator=generator), torch.randint(0, 10, (8,), generator=generator))
        for _ in range(count)
    ]


def some_networks(space, count):
    rng = random.Random(3)
    counts = [len(position.candidates) for position in space.positions]
    first = [rng.randrange(n) for n in counts]
    networks = [first]
    for _ in range(count - 1):  # each differs from one before in a few positions
        other = list(rng.choice(networks))
        for position in rng.sample(range(len(counts)), 2):
            other[position] = rng.randrange(counts[position])
        networks.append(other)
    return [tuple(network) for network in networks]


def judge_of(space, shape, **more):
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    return HeldOutJudge(supernet, made_up_batches(shape), **more)


@pytest.mark.parametrize("kept_bytes", [0, 300_000, GIBIBYTE])
def test_networks_that_begin_alike_are_scored_as_if_each_ran_alone(kept_bytes):
    space = small_space((1, 16, 16), 10)
    judge = judge_of(space, (1, 16, 16), kept_bytes=kept_bytes)
    for choices in some_networks(space, 12):
        alone = judge_of(space, (1, 16, 16), kept_bytes=0)
        assert judge.score(fixed_paths(choices)) == alone.score(fixed_paths(choices))
        assert judge._bytes <= kept_bytes


def test_what_networks_share_runs_once(monkeypatch):
    space = small_space((1, 16, 16), 10)
    judge = judge_of(space, (1, 16, 16))
    calls = []
    for number, mixed_op in enumerate(judge.supernet.mixed_ops):
        mixed_op.register_forward_hook(lambda *_, number=number: calls.append(number))
    first = [0] * len(space.positions)
    judge.score(fixed_paths(first))
    assert sorted(calls) == sorted(2 * list(range(len(first))))  # two batches
    calls.clear()
    judge.score(fixed_paths([*first[:-1], 1]))
    assert calls == 2 * [len(first) - 1]


def test_a_space_that_is_no_chain_is_judged_whole():
    space = cifar_tree_space((1, 16, 16), 10, blocks=1, filters=64)
    judge = judge_of(space, (1, 16, 16))
    choices = some_networks(space, 1)[0]
    paths = fixed_paths(choices)
    with torch.no_grad():
        outputs = [judge.supernet(images, paths) for images, _ in judge.batches]
    right = sum(int((out.argmax(1) == labels).sum()) for out, (_, labels) in zip(outputs, judge.batches, strict=True))
    assert judge.score(paths)[1] == right / 16
