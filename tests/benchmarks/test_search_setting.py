"""The steps that memory and step-cost benchmarks time."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.search_setting import STEP_KINDS, StepKind, make_setting, make_step


@pytest.mark.parametrize("kind", [kind for kind in STEP_KINDS if kind != "full-default-batch"])
def test_every_step_can_be_taken_with_fewer_images_than_classes(kind: StepKind):
    """As in the ImageNet outline, where a batch of 8 meets 1,000 classes."""
    step = make_step(dataclasses.replace(make_setting("small", 3), batch_size=4), kind)
    step()
    step()
