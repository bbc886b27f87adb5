"""The optimizer of the supernet's weights. A step looks at the weights of the paths that ran: all others have no
gradient, and looking at them would cost more the more candidates there are."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from search.paths import PathSample
from search.settings import SearchSettings
from search.supernet import MixedOp, SuperNet


class WeightOptimizer:
    """SGD with Nesterov momentum and clipped gradients. Weights that did not run neither decay nor keep rolling.

    Args:
        supernet: on its device already.
    """

    def __init__(self, supernet: SuperNet, settings: SearchSettings) -> None:
        self.largest_gradient_norm = settings.largest_gradient_norm
        self._sgd = torch.optim.SGD(
            supernet.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )
        self._stem = tuple(supernet.stem.parameters())
        self._candidates = [
            [tuple(candidate.parameters()) for candidate in cast(MixedOp, mixed_op).candidates]
            for mixed_op in supernet.mixed_ops
        ]
        self._behind = (*supernet.head.parameters(), *supernet.joints.parameters())

    def weights_of(self, paths: PathSample) -> list[Parameter]:
        """The weights of one network, in the order of ``supernet.parameters()``."""
        weights = list(self._stem)
        for candidates, choice in zip(self._candidates, paths.choices, strict=True):
            weights += candidates[choice]
        return [*weights, *self._behind]

    def gradients(self, paths: PathSample) -> list[Tensor]:
        """What backward left for the paths that ran."""
        return [weight.grad for weight in self.weights_of(paths) if weight.grad is not None]

    def step(self, paths: PathSample, learning_rate: float) -> None:
        """Update the weights of the paths that ran, and drop their gradients."""
        weights = self.weights_of(paths)
        torch.nn.utils.clip_grad_norm_(weights, self.largest_gradient_norm)
        (group,) = self._sgd.param_groups
        everything = group["params"]
        group.update(params=weights, lr=learning_rate)
        try:
            self._sgd.step()
        finally:
            group["params"] = everything
        for weight in weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        return self._sgd.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sgd.load_state_dict(state)
