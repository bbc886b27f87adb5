"""The steps that memory and step-cost benchmarks time."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from benchmarks.memory_probe import saved_bytes
from benchmarks.search_setting import STEP_KINDS, StepKind, make_setting, make_step


@pytest.mark.parametrize("kind", [kind for kind in STEP_KINDS if kind != "full-default-batch"])
def test_every_step_can_be_taken_with_fewer_images_than_classes(kind: StepKind):
    """As in the ImageNet outline, where a batch of 8 meets 1,000 classes."""
    step = make_step(dataclasses.replace(make_setting("small", 3), batch_size=4), kind)
    step()
    step()


def test_what_autograd_kept_one_after_the_other_is_not_added_up():
    def step(repeats: int) -> None:
        for _ in range(repeats):
            x = torch.ones(1000, requires_grad=True)
            (x.exp() * x).sum().backward()

    assert saved_bytes(partial(step, 1)) == saved_bytes(partial(step, 5)) == 2 * 4000
