"""A running average of a network's weights, which is what is judged, kept and shipped when it is asked for."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)
FIRST_STEPS = 10


def averaging_copy(model: Network) -> Network:
    """The module that holds the average; at first it equals ``model``."""
    average = copy.deepcopy(model)
    for parameter in average.parameters():
        parameter.requires_grad_(False)
    return average


def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average a little towards the weights, and towards batch norm's statistics.

    Args:
        decay: share that is kept in the long run. Early on less is kept, so that the start is soon forgotten.
        step: steps taken before, from 0.
    """
    kept = min(decay, (1 + step) / (FIRST_STEPS + step))
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)
