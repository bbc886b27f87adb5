"""A weight step looks at the weights of the paths that ran, and does what SGD over all weights would do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from search.paths import fair_paths
from search.settings import SearchSettings
from search.supernet import SuperNet
from search.weight_optimizer import WeightOptimizer
from tests.search.test_widths import one_width

SETTINGS = SearchSettings(warmup_steps=0, search_steps=1, weight_decay=0.01, largest_gradient_norm=0.5)
STEPS = 12


@pytest.fixture(params=["one width", "three widths"])
def any_space(request, space):
    if request.param == "one width":
        return space
    return dataclasses.replace(one_width(12), narrower=(one_width(4), one_width(8)))


def gradients_of(supernet, step, images_and_labels):
    images, labels = images_and_labels
    space = supernet.space
    paths = fair_paths(space.candidate_counts, 0, step, len(space.widths))
    functional.cross_entropy(supernet(images, paths), labels).backward()
    return paths


def test_it_ends_bit_for_bit_like_clipped_sgd_over_all_weights(any_space, images_and_labels):
    ours, plain = (SuperNet(any_space, torch.Generator().manual_seed(0)) for _ in range(2))
    optimizer = WeightOptimizer(ours, SETTINGS)
    sgd = torch.optim.SGD(
        plain.parameters(), lr=1.0, momentum=SETTINGS.momentum, nesterov=True, weight_decay=SETTINGS.weight_decay
    )
    for step in range(STEPS):
        rate = 0.4 / (1 + step)
        optimizer.step(gradients_of(ours, step, images_and_labels), rate)
        sgd.zero_grad()
        gradients_of(plain, step, images_and_labels)
        torch.nn.utils.clip_grad_norm_(plain.parameters(), SETTINGS.largest_gradient_norm)
        sgd.param_groups[0]["lr"] = rate
        sgd.step()
    assert all(torch.equal(left, right) for left, right in zip(ours.parameters(), plain.parameters()))
    mine, theirs = optimizer.state_dict(), sgd.state_dict()
    assert mine["param_groups"] == theirs["param_groups"] and mine["state"].keys() == theirs["state"].keys()
    for weight, state in mine["state"].items():
        assert torch.equal(state["momentum_buffer"], theirs["state"][weight]["momentum_buffer"])


def test_the_gradients_are_those_of_the_paths_that_ran_and_a_step_drops_them(any_space, images_and_labels):
    supernet = SuperNet(any_space, torch.Generator().manual_seed(0))
    optimizer = WeightOptimizer(supernet, SETTINGS)
    paths = gradients_of(supernet, 0, images_and_labels)
    left = [weight.grad for weight in supernet.parameters() if weight.grad is not None]
    assert list(map(id, optimizer.gradients(paths))) == list(map(id, left))
    optimizer.step(paths, 0.1)
    assert all(weight.grad is None for weight in supernet.parameters())
